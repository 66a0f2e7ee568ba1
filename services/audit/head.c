/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head.c: how far this instance saw the log grow. The file is not signed and not synced: it is a witness
 * outside the database, for the events that no checkpoint covers yet.
 */
#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct head {
	int fd;
	pthread_mutex_t lock; /* guards the rest */
	uint64_t log_size;
	uint8_t hash[CH_AUDIT_HASH_SIZE];
	bool frozen; /* the log was found rewound: the file stays as evidence */
};

static void load(struct head *head)
{
	char text[CH_AUDIT_HEAD_SIZE + 1] = "";
	CH_AUTO(ch_bytes) hash = CH_NONE;

	if (pread(head->fd, text, CH_AUDIT_HEAD_SIZE, 0) != CH_AUDIT_HEAD_SIZE)
		return;
	text[CH_AUDIT_HEAD_SIZE - 1] = 0;
	if (!ch_unhex(text + 21, &hash, NULL) || hash.size != CH_AUDIT_HASH_SIZE)
		return;
	head->log_size = strtoull(text, NULL, 10);
	memcpy(head->hash, hash.data, sizeof(head->hash));
}

bool head_open(const char *state_directory, struct head **head, struct ch_error *err)
{
	CH_AUTO(ch_string) path = ch_format("%s/" CH_AUDIT_HEAD_FILE, state_directory);
	struct head *made = ch_alloc(sizeof(*made));

	made->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (made->fd < 0) {
		free(made);
		return ch_fail_errno(err, CH_INTERNAL, errno, "head file '%s'", path);
	}
	pthread_mutex_init(&made->lock, NULL);
	load(made);
	*head = made;
	return true;
}

void head_close(struct head *head)
{
	if (!head)
		return;
	close(head->fd);
	pthread_mutex_destroy(&head->lock);
	free(head);
}

/* With the lock. */
static void set(struct head *head, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE])
{
	CH_AUTO(ch_string) hex = ch_hex(ch_view(hash, CH_AUDIT_HASH_SIZE));
	char text[CH_AUDIT_HEAD_SIZE + 1];

	head->log_size = log_size;
	memcpy(head->hash, hash, sizeof(head->hash));
	snprintf(text, sizeof(text), "%020" PRIu64 " %s\n", log_size, hex);
	if (pwrite(head->fd, text, CH_AUDIT_HEAD_SIZE, 0) != CH_AUDIT_HEAD_SIZE)
		ch_log_warn("head file cannot be written: %s", strerror(errno));
}

void head_advance(struct head *head, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE])
{
	pthread_mutex_lock(&head->lock);
	if (!head->frozen && log_size > head->log_size)
		set(head, log_size, hash);
	pthread_mutex_unlock(&head->lock);
}

bool head_is_rewound(struct head *head, uint64_t log_size, const uint8_t hash[CH_AUDIT_HASH_SIZE],
		     uint64_t *known)
{
	bool rewound;

	pthread_mutex_lock(&head->lock);
	*known = head->log_size;
	rewound = log_size < head->log_size || (log_size == head->log_size && log_size &&
						memcmp(hash, head->hash, CH_AUDIT_HASH_SIZE) != 0);
	rewound = rewound && !head->frozen;
	head->frozen = head->frozen || rewound;
	pthread_mutex_unlock(&head->lock);
	return rewound;
}
