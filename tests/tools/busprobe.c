/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busprobe.c: sends hand-made messages to a daemon's bus and prints each reply as a line of JSON. It has a
 * real identity for the TLS underneath; what is wrong is the message. tests/integration/test_bus.py runs it.
 */
#include "bus/bus.h"
#include "bus/internal.h"
#include "number.h"

#include <cjson/cJSON.h>
#include <getopt.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/transport/tls/tls.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct probe {
	const char *service, *address;
	struct ch_identity_config files;
	struct ch_identity *identity;
	nng_socket socket;
	int type;
	struct ch_bytes payload;
	size_t size; /* of payloads that are only large */
	long count;
	int timeout_ms;
};

/* What the draft of a message starts from; a case changes a member or two. */
struct draft {
	Chancery__Body body;
	uint8_t message_id[16], digest[32];
	int64_t clock_offset_us;
	bool broken_signature, foreign_certificate, truncated, garbage, twice;
};

/* --- the cases ---------------------------------------------------------------------------------------------
 */

static void good(struct probe *probe, struct draft *draft)
{
	(void)probe;
	(void)draft;
}

static void wrong_signature(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->broken_signature = true;
}

static void unknown_sender(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->foreign_certificate = true;
}

static void expired(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->clock_offset_us = -2 * CH_ENVELOPE_WINDOW;
}

static void from_the_future(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->clock_offset_us = 2 * CH_ENVELOPE_WINDOW;
}

static void late(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.deadline_us = ch_clock_now_us(ch_clock_system()) - 1;
}

static void no_deadline(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.deadline_us = 0;
}

static void replayed(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->twice = true;
}

static void unknown_payload(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.payload_type = (Chancery__PayloadType)4711;
}

static void wrong_service(struct probe *probe, struct draft *draft)
{
	draft->body.to_service = (char *)(uintptr_t)(strcmp(probe->service, "vault") ? "vault" : "issuer");
}

static void oversize(struct probe *probe, struct draft *draft)
{
	ch_bytes_free(&probe->payload);
	probe->payload = (struct ch_bytes){ ch_alloc(probe->size), probe->size };
	draft->body.payload = (ProtobufCBinaryData){ probe->payload.size, probe->payload.data };
}

/* Empty items of field 1: two octets each here, a struct each where they are unpacked. */
static void many_items(struct probe *probe, struct draft *draft)
{
	oversize(probe, draft);
	for (size_t i = 0; i + 1 < probe->size; i += 2) {
		probe->payload.data[i] = 0x0a;
		probe->payload.data[i + 1] = 0;
	}
}

static void truncated(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->truncated = true;
}

static void garbage(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->garbage = true;
}

static void reply_as_request(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.request_digest = (ProtobufCBinaryData){ sizeof(draft->digest), draft->digest };
}

static void short_id(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.message_id.len = 15;
}

static void not_utf8(struct probe *probe, struct draft *draft)
{
	(void)probe;
	draft->body.tenant = (char *)(uintptr_t) "\xff";
}

static const struct {
	const char *name;
	void (*change)(struct probe *probe, struct draft *draft);
	const char *help;
} cases[] = {
	{ "good", good, "nothing is wrong with the envelope; --type and --payload say what is in it" },
	{ "wrong-signature", wrong_signature, "one bit of the signed body is another" },
	{ "unknown-sender", unknown_sender, "signed well, by a certificate that the system CA never issued" },
	{ "expired", expired, "sent a minute ago" },
	{ "future", from_the_future, "sent in a minute" },
	{ "late", late, "its deadline has passed" },
	{ "no-deadline", no_deadline, "it has none" },
	{ "replayed", replayed, "the same message twice; the second reply is printed" },
	{ "unknown-payload", unknown_payload, "a payload type that nobody has" },
	{ "wrong-service", wrong_service, "addressed to another service" },
	{ "oversize", oversize, "a payload of --size octets" },
	{ "many-items", many_items, "a payload of --size octets: empty items of its field 1" },
	{ "truncated", truncated, "the first half of an envelope" },
	{ "garbage", garbage, "random octets" },
	{ "reply-as-request", reply_as_request, "a request that has a request_digest" },
	{ "short-id", short_id, "a message_id of 15 octets" },
	{ "not-utf8", not_utf8, "a tenant that is no text" },
};

/* --- making ------------------------------------------------------------------------------------------------
 */

static int64_t moved(void *context)
{
	return ch_clock_now_us(ch_clock_system()) + *(int64_t *)context;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "busprobe: %s: %s\n", what, why);
	exit(2);
}

/* Puts a self-signed certificate and its signature into an envelope. */
static void sign_as_stranger(Chancery__Envelope *envelope)
{
	static const char domain[] = CH_ENVELOPE_DOMAIN;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = X509_new();
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t *der = NULL;
	size_t size = 80;
	int der_size;

	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_set_pubkey(certificate, key);
	X509_sign(certificate, key, EVP_sha256());
	der_size = i2d_X509(certificate, &der);
	free(envelope->certificate.data);
	envelope->certificate = (ProtobufCBinaryData){ (size_t)der_size, ch_alloc((size_t)der_size) };
	memcpy(envelope->certificate.data, der, (size_t)der_size);
	free(envelope->signature.data);
	envelope->signature.data = ch_alloc(size);
	if (EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
	    EVP_DigestSignUpdate(context, domain, sizeof(domain)) != 1 ||
	    EVP_DigestSignUpdate(context, envelope->body.data, envelope->body.len) != 1 ||
	    EVP_DigestSignFinal(context, envelope->signature.data, &size) != 1)
		die("sign", "as a stranger");
	envelope->signature.len = size;
	OPENSSL_free(der);
	EVP_MD_CTX_free(context);
	X509_free(certificate);
	EVP_PKEY_free(key);
}

static void spoil(struct draft *draft, struct ch_bytes *octets)
{
	Chancery__Envelope *envelope;

	if (draft->broken_signature || draft->foreign_certificate) {
		envelope = chancery__envelope__unpack(NULL, octets->size, octets->data);
		if (draft->foreign_certificate)
			sign_as_stranger(envelope);
		else
			envelope->body.data[5] ^= 1;
		if (EVP_Digest(envelope->body.data, envelope->body.len, draft->digest, NULL, EVP_sha256(),
			       NULL) != 1)
			die("digest", "of the body");
		ch_bytes_free(octets);
		octets->size = chancery__envelope__get_packed_size(envelope);
		octets->data = ch_alloc(octets->size);
		chancery__envelope__pack(envelope, octets->data);
		chancery__envelope__free_unpacked(envelope, NULL);
	}
	if (draft->truncated)
		octets->size /= 2;
	if (draft->garbage)
		ch_random(octets->data, octets->size);
}

static struct ch_bytes make(struct probe *probe, size_t which, struct draft *draft)
{
	struct ch_bytes octets = CH_NONE;
	struct ch_error err = CH_NONE;
	struct ch_clock clock = { moved, &draft->clock_offset_us };

	*draft = (struct draft){ .body = CHANCERY__BODY__INIT };
	ch_random(draft->message_id, sizeof(draft->message_id));
	draft->body.message_id = (ProtobufCBinaryData){ sizeof(draft->message_id), draft->message_id };
	draft->body.to_service = (char *)(uintptr_t)probe->service;
	draft->body.tenant = (char *)(uintptr_t) "default";
	draft->body.deadline_us = ch_clock_now_us(ch_clock_system()) + CH_HOUR;
	draft->body.payload_type = (Chancery__PayloadType)probe->type;
	draft->body.payload = (ProtobufCBinaryData){ probe->payload.size, probe->payload.data };
	cases[which].change(probe, draft);
	if (!ch_envelope_seal(probe->identity, &clock, &draft->body, &octets, draft->digest, &err))
		die(cases[which].name, err.message);
	spoil(draft, &octets);
	return octets;
}

/* --- sending -----------------------------------------------------------------------------------------------
 */

/* NULL: no reply. */
static nng_msg *exchange(struct probe *probe, struct ch_view octets)
{
	nng_msg *request = NULL, *reply = NULL;
	int result;

	if (nng_msg_alloc(&request, 0) != 0 || nng_msg_append(request, octets.data, octets.size) != 0)
		die("send", "no memory");
	result = nng_sendmsg(probe->socket, request, 0);
	if (result != 0) {
		nng_msg_free(request);
		return NULL;
	}
	return nng_recvmsg(probe->socket, &reply, 0) == 0 ? reply : NULL;
}

static void describe_error(cJSON *line, const Chancery__Body *body)
{
	Chancery__ErrorReply *error =
		chancery__error_reply__unpack(NULL, body->payload.len, body->payload.data);

	cJSON_AddStringToObject(line, "outcome", "error");
	if (!error)
		return;
	cJSON_AddStringToObject(line, "code", ch_code_name((enum ch_code)error->code));
	cJSON_AddStringToObject(line, "message", error->message);
	cJSON_AddBoolToObject(line, "retryable", error->retryable);
	chancery__error_reply__free_unpacked(error, NULL);
}

static cJSON *describe(struct probe *probe, const char *name, const struct draft *draft, nng_msg *reply)
{
	cJSON *line = cJSON_CreateObject();
	CH_AUTO(ch_message) message = CH_NONE;
	struct ch_error err = CH_NONE;

	cJSON_AddStringToObject(line, "case", name);
	cJSON_AddNumberToObject(line, "type", (double)draft->body.payload_type);
	if (!reply) {
		cJSON_AddStringToObject(line, "outcome", "none");
		return line;
	}
	if (!ch_envelope_open(probe->identity, ch_clock_system(), NULL,
			      ch_view(nng_msg_body(reply), nng_msg_len(reply)), &message, &err)) {
		cJSON_AddStringToObject(line, "outcome", "bad-reply");
		cJSON_AddStringToObject(line, "message", err.message);
		return line;
	}
	cJSON_AddStringToObject(line, "from", message.sender.instance);
	cJSON_AddNumberToObject(line, "reply_type", (double)message.body->payload_type);
	cJSON_AddBoolToObject(
		line, "belongs",
		memcmp(message.body->request_digest.data, draft->digest, sizeof(draft->digest)) == 0);
	if (message.body->payload_type == CHANCERY__PAYLOAD_TYPE__PAYLOAD_ERROR_REPLY)
		describe_error(line, message.body);
	else
		cJSON_AddStringToObject(line, "outcome", "answered");
	return line;
}

static void run_case(struct probe *probe, size_t which)
{
	for (long i = 0; i < probe->count; i++) {
		struct draft draft;
		CH_AUTO(ch_bytes) octets = make(probe, which, &draft);
		nng_msg *reply = draft.twice ? exchange(probe, ch_view_of(&octets)) : NULL;
		cJSON *line;
		char *text;

		nng_msg_free(reply);
		reply = exchange(probe, ch_view_of(&octets));
		line = describe(probe, cases[which].name, &draft, reply);
		nng_msg_free(reply);
		if (i + 1 == probe->count) {
			text = cJSON_PrintUnformatted(line);
			puts(text);
			free(text);
		}
		cJSON_Delete(line);
	}
}

/* --- command line ------------------------------------------------------------------------------------------
 */

static void usage(void)
{
	fprintf(stderr,
		"usage: busprobe --identity DIR --system-ca FILE --service NAME --address HOST:PORT\n"
		"                [--type N] [--payload HEX] [--size N] [--count N] [--timeout MS] CASE...\n");
	for (size_t i = 0; i < CH_COUNT(cases); i++)
		fprintf(stderr, "  %-18s%s\n", cases[i].name, cases[i].help);
	exit(2);
}

static void connect_probe(struct probe *probe)
{
	CH_AUTO(ch_string) url = ch_format("tls+tcp://%s", probe->address);
	CH_AUTO(ch_string) name = ch_format("%s.chancery.internal", probe->service);
	CH_AUTO(tls_config) tls = NULL;
	nng_dialer dialer = NNG_DIALER_INITIALIZER;
	struct ch_error err = CH_NONE;

	if (!ch_identity_load(&probe->files, NULL, NULL, &probe->identity, &err) ||
	    !ch_bus_tls_config(probe->identity, name, &tls, &err))
		die("identity", err.message);
	nng_tls_register();
	if (nng_req0_open(&probe->socket) != 0 ||
	    nng_socket_set_ms(probe->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE) != 0 ||
	    nng_socket_set_ms(probe->socket, NNG_OPT_SENDTIMEO, probe->timeout_ms) != 0 ||
	    nng_socket_set_ms(probe->socket, NNG_OPT_RECVTIMEO, probe->timeout_ms) != 0 ||
	    nng_socket_set_ms(probe->socket, NNG_OPT_RECONNMINT, 20) != 0 ||
	    nng_socket_set_ms(probe->socket, NNG_OPT_RECONNMAXT, 100) != 0 ||
	    nng_socket_set_size(probe->socket, NNG_OPT_RECVMAXSZ, CH_ENVELOPE_CAP) != 0 ||
	    nng_dialer_create(&dialer, probe->socket, url) != 0 ||
	    nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls) != 0)
		die("socket", probe->address);
	nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
}

static void read_options(struct probe *probe, int argc, char **argv)
{
	static const struct option options[] = {
		{ "identity", required_argument, NULL, 'i' }, { "system-ca", required_argument, NULL, 'c' },
		{ "service", required_argument, NULL, 's' },  { "address", required_argument, NULL, 'a' },
		{ "type", required_argument, NULL, 't' },     { "payload", required_argument, NULL, 'p' },
		{ "size", required_argument, NULL, 'z' },     { "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 'm' },  { NULL, 0, NULL, 0 },
	};
	struct ch_error err = CH_NONE;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'i') {
			probe->files.certificate = ch_format("%s/certificate.pem", optarg);
			probe->files.key = ch_format("%s/key.pem", optarg);
		} else if (option == 'c') {
			probe->files.system_ca = ch_strdup(optarg);
		} else if (option == 's') {
			probe->service = optarg;
		} else if (option == 'a') {
			probe->address = optarg;
		} else if (option == 't') {
			probe->type = (int)number_of(optarg, 0, INT32_MAX);
		} else if (option == 'p') {
			if (!ch_unhex(optarg, &probe->payload, &err))
				die("payload", err.message);
		} else if (option == 'z') {
			probe->size = (size_t)number_of(optarg, 0, INT32_MAX);
		} else if (option == 'n') {
			probe->count = number_of(optarg, 1, INT32_MAX);
		} else if (option == 'm') {
			probe->timeout_ms = (int)number_of(optarg, 0, INT32_MAX);
		} else {
			usage();
		}
	}
	if (!probe->files.certificate || !probe->files.system_ca || !probe->service || !probe->address ||
	    optind == argc)
		usage();
}

int main(int argc, char **argv)
{
	struct probe probe = { .type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_PING,
			       .size = 1024 * 1024,
			       .count = 1,
			       .timeout_ms = 5000 };

	read_options(&probe, argc, argv);
	connect_probe(&probe);
	for (int i = optind; i < argc; i++) {
		size_t which = 0;

		while (which < CH_COUNT(cases) && strcmp(cases[which].name, argv[i]) != 0)
			which++;
		if (which == CH_COUNT(cases))
			usage();
		run_case(&probe, which);
	}
	if (!ch_bus_close_socket(
		    probe.socket)) { /* its connection may still read the identity: nothing is freed */
		fflush(stdout);
		_exit(0);
	}
	ch_identity_free(probe.identity);
	ch_bytes_free(&probe.payload);
	free(probe.files.certificate);
	free(probe.files.key);
	free(probe.files.system_ca);
	return 0;
}
