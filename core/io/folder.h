/* Folders: making them, and seeing to it that what is new in one survives a power cut. */
#ifndef ICOT_IO_FOLDER_H
#define ICOT_IO_FOLDER_H

#include <stdbool.h>

bool folder_exists(const char *path);

/* Makes the folders that the file at `path` is to lie in, like `mkdir -p`. Messages name the file,
 * by its kind ("run file", …) and path. */
int folder_make_around(const char *kind, const char *path);

/*
 * Brings the entry of `path` in its folder to the disk: until then a power cut may lose what is new
 * there. Best effort, since some file systems cannot sync a folder.
 */
void folder_sync_around(const char *path);

#endif
