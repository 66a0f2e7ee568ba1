/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secretprobe.c: seals and opens secrets as any service whose identity directory it is given.
 * tests/integration/test_secrets_at_rest.py drives it; the answer is one line: hexadecimal data, or "error
 * CODE: text" and exit code 1.
 *
 *   secretprobe IDENTITY-DIR SYSTEM-CA HOST:PORT TENANT seal WHAT HEX | open WHAT HEX | hold WHAT HEX |
 * reseal WHAT HEX | rotate | random SIZE
 */
#include "number.h"
#include "vaultclient/vaultclient.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct probe {
	struct ch_bus_client *bus;
	struct ch_vault_client *vault;
	struct ch_vault_context context;
	const char *what;
	const char *data;
};

static bool seal(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_bytes) in = CH_NONE;

	return ch_unhex(probe->data, &in, err) &&
	       ch_vault_seal(probe->vault, &probe->context, probe->what, ch_view_of(&in), out, err);
}

static bool open_it(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_secret) plaintext = CH_NONE;
	CH_AUTO(ch_bytes) in = CH_NONE;
	bool outdated = false;

	if (!ch_unhex(probe->data, &in, err) || !ch_vault_open(probe->vault, &probe->context, probe->what,
							       ch_view_of(&in), &outdated, &plaintext, err))
		return false;
	printf("%s", outdated ? "outdated " : "");
	*out = ch_bytes_copy(ch_view(plaintext.data, plaintext.size));
	return true;
}

/* Opens it a few times, frees what it got, and waits for the end of its input: a test looks through the
 * memory meanwhile. */
static bool hold(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_bytes) in = CH_NONE;

	if (!ch_unhex(probe->data, &in, err))
		return false;
	for (int i = 0; i < 5; i++) {
		CH_AUTO(ch_secret) plaintext = CH_NONE;

		if (!ch_vault_open(probe->vault, &probe->context, probe->what, ch_view_of(&in), NULL,
				   &plaintext, err))
			return false;
	}
	printf("opened\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	*out = ch_bytes_copy(ch_view("", 0));
	return true;
}

static bool reseal(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	CH_AUTO(ch_bytes) in = CH_NONE;

	return ch_unhex(probe->data, &in, err) &&
	       ch_vault_reseal(probe->vault, &probe->context, probe->what, ch_view_of(&in), out, err);
}

static bool rotate(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	Chancery__RotateDataKeyRequest request = CHANCERY__ROTATE_DATA_KEY_REQUEST__INIT;
	const struct ch_bus_call call = {
		.request_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY,
		.request = &request.base,
		.reply_type = CHANCERY__PAYLOAD_TYPE__PAYLOAD_ROTATE_DATA_KEY_REPLY,
		.reply_descriptor = &chancery__rotate_data_key_reply__descriptor,
		.tenant = probe->context.tenant,
	};
	CH_AUTO(ch_proto) reply = NULL;
	uint8_t version;

	if (!ch_bus_call(probe->bus, &call, &reply, err))
		return false;
	version = (uint8_t)((const Chancery__RotateDataKeyReply *)reply)->version;
	*out = ch_bytes_copy(ch_view(&version, 1));
	return true;
}

static bool random_octets(const struct probe *probe, struct ch_bytes *out, struct ch_error *err)
{
	return ch_vault_random(probe->vault, &probe->context, (uint32_t)number_of(probe->what, 0, UINT32_MAX),
			       out, err);
}

static bool run(const struct probe *probe, const char *command, struct ch_bytes *out, struct ch_error *err)
{
	static const struct {
		const char *name;
		bool (*run)(const struct probe *probe, struct ch_bytes *out, struct ch_error *err);
	} commands[] = { { "seal", seal },     { "open", open_it },  { "hold", hold },
			 { "reseal", reseal }, { "rotate", rotate }, { "random", random_octets } };

	for (size_t i = 0; i < CH_COUNT(commands); i++)
		if (strcmp(commands[i].name, command) == 0)
			return commands[i].run(probe, out, err);
	return ch_fail(err, CH_INVALID, "no command '%s'", command);
}

static bool open_and_run(char **words, int count, struct ch_metrics *metrics, struct ch_bytes *out,
			 struct ch_error *err)
{
	CH_AUTO(ch_string) certificate = ch_format("%s/certificate.pem", words[1]);
	CH_AUTO(ch_string) key = ch_format("%s/key.pem", words[1]);
	const struct ch_identity_config files = { certificate, key, words[2] };
	const struct ch_conf_strings vaults = { &words[3], 1 };
	struct probe probe = { .context = { .tenant = words[4], .timeout_us = 30 * CH_SECOND },
			       .what = count > 6 ? words[6] : "",
			       .data = count > 7 ? words[7] : "" };
	CH_AUTO(ch_identity) identity = NULL;
	bool done;

	if (!ch_identity_load(&files, NULL, NULL, &identity, err) ||
	    !ch_bus_client_open("vault", &vaults, identity, ch_clock_system(), metrics, &probe.bus, err))
		return false;
	probe.vault = ch_vault_client_new(probe.bus);
	done = run(&probe, words[5], out, err);
	ch_vault_client_free(probe.vault);
	ch_bus_client_close(probe.bus);
	return done;
}

int main(int argc, char **argv)
{
	CH_AUTO(ch_bytes) out = CH_NONE;
	CH_AUTO(ch_string) text = NULL;
	struct ch_error err = CH_NONE;
	struct ch_metrics *metrics;
	bool done;

	if (argc < 6) {
		fprintf(stderr, "secretprobe: see the head of secretprobe.c\n");
		return 2;
	}
	metrics = ch_metrics_new();
	done = open_and_run(argv, argc, metrics, &out, &err);
	ch_metrics_free(metrics);
	if (!done) {
		printf("error %s: %s\n", ch_code_name(err.code), err.message);
		return 1;
	}
	text = ch_hex(ch_view_of(&out));
	printf("%s\n", text);
	return 0;
}
