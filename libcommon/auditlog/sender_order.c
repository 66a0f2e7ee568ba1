/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sender_order.c: the second line of defence: even a log whose whole chain was computed anew lacks the
 * numbers that its senders signed. A jump that the audit daemon itself saw and told (a lost spool) is excused
 * by that event.
 */
#include "auditlog/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sender {
	char *name; /* service/instance */
	uint64_t last;
	uint64_t doubtful; /* rows of it since then whose number cannot be known */
	struct sender *next;
};

struct jump {
	uint64_t row;
	char *sender;
	uint64_t expected, found;
	bool excused;
	struct jump *next;
};

struct sender_order {
	const char *keeper; /* borrowed */
	struct sender *senders;
	struct jump *jumps, **end;
	struct jump *alerts;
};

struct sender_order *sender_order_new(const char *keeper)
{
	struct sender_order *order = ch_alloc(sizeof(*order));

	order->keeper = keeper;
	order->end = &order->jumps;
	return order;
}

static void free_jumps(struct jump *jump)
{
	while (jump) {
		struct jump *next = jump->next;

		free(jump->sender);
		free(jump);
		jump = next;
	}
}

void sender_order_free(struct sender_order *order)
{
	if (!order)
		return;
	while (order->senders) {
		struct sender *next = order->senders->next;

		free(order->senders->name);
		free(order->senders);
		order->senders = next;
	}
	free_jumps(order->jumps);
	free_jumps(order->alerts);
	free(order);
}

static struct sender *find_sender(struct sender_order *order, const char *service, const char *instance)
{
	CH_AUTO(ch_string) name = ch_format("%s/%s", service, instance);
	struct sender *sender = order->senders;

	while (sender && strcmp(sender->name, name) != 0)
		sender = sender->next;
	if (sender)
		return sender;
	sender = ch_alloc(sizeof(*sender));
	*sender = (struct sender){ .name = CH_STEAL(name), .next = order->senders };
	return order->senders = sender;
}

static struct jump *new_jump(uint64_t row, const char *sender, uint64_t expected, uint64_t found)
{
	struct jump *jump = ch_alloc(sizeof(*jump));

	*jump = (struct jump){ row, ch_strdup(sender), expected, found, false, NULL };
	return jump;
}

static uint64_t detail_number(const Chancery__Event *event, const char *name)
{
	for (size_t i = 0; i < event->n_details; i++)
		if (strcmp(event->details[i]->name, name) == 0)
			return strtoull(event->details[i]->value, NULL, 10);
	return 0;
}

void sender_order_see(struct sender_order *order, uint64_t row, const Chancery__Event *event)
{
	struct sender *sender;

	if (strcmp(event->service, order->keeper) == 0 && strcmp(event->type, "audit.gap") == 0) {
		struct jump *alert = new_jump(row, event->subject, detail_number(event, "expected"),
					      detail_number(event, "found"));

		alert->next = order->alerts;
		order->alerts = alert;
	}
	if (!event->sequence)
		return;
	sender = find_sender(order, event->service, event->instance);
	if (event->sequence <= sender->last || event->sequence > sender->last + 1 + sender->doubtful) {
		*order->end = new_jump(row, sender->name, sender->last + 1, event->sequence);
		order->end = &(*order->end)->next;
	}
	sender->last = event->sequence;
	sender->doubtful = 0;
}

void sender_order_skip(struct sender_order *order, const char *service, const char *instance)
{
	find_sender(order, service, instance)->doubtful++;
}

static bool excused(const struct sender_order *order, const struct jump *jump)
{
	for (const struct jump *alert = order->alerts; alert; alert = alert->next)
		if (strcmp(alert->sender, jump->sender) == 0 && alert->expected == jump->expected &&
		    alert->found == jump->found)
			return true;
	return false;
}

void sender_order_finish(struct sender_order *order, sender_order_told told, void *context)
{
	char text[300];

	for (const struct jump *jump = order->jumps; jump; jump = jump->next) {
		if (excused(order, jump))
			continue;
		if (jump->found > jump->expected)
			snprintf(text, sizeof(text),
				 "events %" PRIu64 " to %" PRIu64 " of %s are not in the log before this row",
				 jump->expected, jump->found - 1, jump->sender);
		else
			snprintf(text, sizeof(text),
				 "event %" PRIu64 " of %s stands after its event %" PRIu64, jump->found,
				 jump->sender, jump->expected - 1);
		told(context, jump->row, jump->found > jump->expected ? "missing" : "reordered", text);
	}
}
