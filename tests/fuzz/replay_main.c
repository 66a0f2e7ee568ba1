/* SPDX-License-Identifier: Apache-2.0 */
/* replay_main.c: runs a fuzz target over the files of its corpus directories, where libFuzzer is not linked
 * in. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *directory, const char *name)
{
	char path[4096];
	FILE *file;
	uint8_t *data = malloc(1 << 20);
	size_t size;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "rb");
	if (!file || !data) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(1);
	}
	size = fread(data, 1, 1 << 20, file);
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

int main(int argc, char **argv)
{
	int files = 0;

	for (int i = 1; i < argc; i++) {
		DIR *directory = opendir(argv[i]);
		struct dirent *entry;

		if (!directory) {
			fprintf(stderr, "no corpus at %s\n", argv[i]);
			return 1;
		}
		while ((entry = readdir(directory)))
			if (entry->d_name[0] != '.')
				files += replay_file(argv[i], entry->d_name);
		closedir(directory);
	}
	printf("%d files replayed\n", files);
	return files ? 0 : 1;
}
