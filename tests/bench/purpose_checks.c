/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purpose_checks.c: what the vault's check of each purpose costs on a typical document, beside OpenSSL's
 * decoding of the same document's whole signed structure. Run by tests/bench/run as
 *
 *   purpose_checks SECONDS
 *
 * SECONDS for each document, in short turns of either side, so that a machine's mood counts for both. Prints
 * one JSON object a document; times are CPU time of the thread, medians of the turns.
 */
#include "purpose_documents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURN_US   10000
#define TURNS_CAP 4096

static double cpu_us(void)
{
	struct timespec at;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (double)at.tv_sec * 1e6 + (double)at.tv_nsec / 1e3;
}

/* A check that stops early would be a fast one: it must end where it should. */
static void check_once(struct documents *documents, const struct document *document)
{
	CH_AUTO(vault_check) question = documents_question(documents, document);
	struct ch_error err = CH_NONE;
	bool accepted = document->check(&question, &err);

	if (document->refused ? !accepted && strcmp(question.reason, document->refused) == 0 : accepted)
		return;
	fprintf(stderr, "purpose_checks: %s: %s\n", document->name, accepted ? "accepted" : err.message);
	exit(1);
}

static void decode_once(struct documents *documents, const struct document *document)
{
	(void)documents;
	if (document->decode(ch_view_of(&document->whole)))
		return;
	fprintf(stderr, "purpose_checks: %s: %s does not decode it\n", document->name, document->decoder);
	exit(1);
}

/* CPU microseconds of one call, over about TURN_US. */
static double turn(void (*once)(struct documents *, const struct document *), struct documents *documents,
		   const struct document *document)
{
	double began = cpu_us(), spent;
	size_t count = 0;

	do {
		once(documents, document);
		count++;
		spent = cpu_us() - began;
	} while (spent < TURN_US);
	return spent / (double)count;
}

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare);
	return values[count / 2];
}

static void measure(struct documents *documents, const struct document *document, int64_t until_us)
{
	static double checks[TURNS_CAP], decodes[TURNS_CAP];
	size_t count = 0;

	while (count < TURNS_CAP && (!count || ch_monotonic_us() < until_us)) {
		checks[count] = turn(check_once, documents, document);
		decodes[count] = document->decode ? turn(decode_once, documents, document) : 0;
		count++;
	}
	printf("{\"name\": \"%s\", \"octets\": %zu, \"check_us\": %.3f", document->name,
	       document->to_be_signed.size, median(checks, count));
	if (document->decode)
		printf(", \"decode_us\": %.3f, \"decoder\": \"%s\"", median(decodes, count),
		       document->decoder);
	printf("}\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	int64_t seconds = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
	struct documents *documents;

	if (seconds < 1 || seconds > 3600) {
		fprintf(stderr, "usage: purpose_checks SECONDS\n");
		return 2;
	}
	documents = documents_make();
	for (size_t i = 0; i < documents->count; i++)
		measure(documents, &documents->items[i], ch_monotonic_us() + seconds * CH_SECOND);
	documents_free(documents);
	return 0;
}
