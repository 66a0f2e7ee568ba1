/* SPDX-License-Identifier: Apache-2.0 */
/* readiness.c: the named conditions that /readyz hangs on, each ok, degraded or failed, and what it answers.
 * operations.c serves it. */
#include "daemon/internal.h"

#include "log/log.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const state_names[] = {
	[CH_READY_FAILED] = "failed",
	[CH_READY_OK] = "ok",
	[CH_READY_DEGRADED] = "degraded",
};

static void show(const struct ch_readiness *readiness)
{
	ch_metric_set(readiness->metric, (int64_t)readiness->state);
}

struct ch_readiness *ch_daemon_readiness(struct ch_daemon *daemon, const char *name)
{
	struct ch_readiness *readiness = ch_alloc(sizeof(*readiness));
	CH_AUTO(ch_string) labels = ch_format("condition=\"%s\"", name);

	readiness->daemon = daemon;
	readiness->name = ch_strdup(name);
	readiness->state = CH_READY_FAILED;
	snprintf(readiness->why, sizeof(readiness->why), "not yet");
	readiness->metric = ch_metrics_gauge(daemon->metrics, "chancery_ready",
					     "Conditions of /readyz: 0 failed, 1 ok, 2 degraded.", labels);
	pthread_mutex_lock(&daemon->lock);
	for (struct ch_readiness **last = &daemon->conditions;; last = &(*last)->next) {
		if (!*last) {
			*last = readiness;
			break;
		}
	}
	show(readiness);
	pthread_mutex_unlock(&daemon->lock);
	return readiness;
}

void ch_readiness_set(struct ch_readiness *readiness, enum ch_ready state, const char *why)
{
	bool changed;

	pthread_mutex_lock(&readiness->daemon->lock);
	changed = readiness->state != state;
	readiness->state = state;
	snprintf(readiness->why, sizeof(readiness->why), "%s", state == CH_READY_OK || !why ? "" : why);
	show(readiness);
	pthread_mutex_unlock(&readiness->daemon->lock);
	if (changed && state == CH_READY_OK)
		ch_log_info("%s: ready", readiness->name);
	else if (changed)
		ch_log_warn("%s: %s: %s", readiness->name,
			    state == CH_READY_FAILED ? "not ready" : "degraded", why ? why : "");
}

/* --- what /readyz answers --- */

struct answer {
	cJSON *conditions;
	enum ch_ready worst;
	struct ch_buffer summary; /* "database: away, serving cached; hsm: no HSM is up" */
};

static void add(struct answer *answer, const char *name, enum ch_ready state, const char *why)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "name", name);
	cJSON_AddStringToObject(object, "state", state_names[state]);
	cJSON_AddStringToObject(object, "why", why);
	cJSON_AddItemToArray(answer->conditions, object);
	if (state == CH_READY_OK)
		return;
	ch_buffer_printf(&answer->summary, "%s%s: %s", answer->summary.used ? "; " : "", name, why);
	if (answer->worst == CH_READY_OK || state == CH_READY_FAILED)
		answer->worst = state;
}

static void add_conditions(struct ch_daemon *daemon, struct answer *answer)
{
	if (!atomic_load(&daemon->opened))
		add(answer, "started", CH_READY_FAILED, "still opening");
	if (atomic_load(&daemon->stopping))
		add(answer, "running", CH_READY_FAILED, "draining");
	pthread_mutex_lock(&daemon->lock);
	for (const struct ch_readiness *r = daemon->conditions; r; r = r->next)
		add(answer, r->name, r->state, r->why);
	pthread_mutex_unlock(&daemon->lock);
}

char *ch_daemon_readiness_text(struct ch_daemon *daemon, bool *ready)
{
	struct answer answer = { .conditions = cJSON_CreateArray(), .worst = CH_READY_OK };
	cJSON *object = cJSON_CreateObject();
	CH_AUTO(ch_string) summary = NULL;
	char *text;

	add_conditions(daemon, &answer);
	*ready = answer.worst != CH_READY_FAILED;
	summary = ch_buffer_steal_text(&answer.summary);
	cJSON_AddBoolToObject(object, "ready", *ready);
	cJSON_AddStringToObject(object, "state", state_names[answer.worst]);
	cJSON_AddStringToObject(object, "summary", summary);
	cJSON_AddItemToObject(object, "conditions", answer.conditions);
	text = cJSON_PrintUnformatted(object);
	cJSON_Delete(object);
	return text;
}
