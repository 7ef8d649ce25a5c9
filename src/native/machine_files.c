#define _GNU_SOURCE
#include "native/machine_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE 1024
#define PATH 4096

enum stat_field { USER, NICE, SYSTEM, IDLE, IOWAIT, IRQ, SOFTIRQ, STEAL, STAT_FIELDS };

/* Open a file for reading; NULL when it cannot be. */
static FILE *open_below(const char *root, const char *path) {
    char whole[PATH];
    int length = snprintf(whole, sizeof whole, "%s%s", root, path);
    return length > 0 && (size_t)length < sizeof whole ? fopen(whole, "re") : NULL;
}

/* --- /proc/stat --- */

/* Read `cpu3 1 2 3 ...`; kernels before 2.6.11 have fewer numbers. Returns the processor, or -1 for
 * the line of all processors together and for one that is not understood. */
static int parse_processor(const char *line, uint64_t fields[STAT_FIELDS]) {
    int processor, length;
    if (sscanf(line, "cpu%d%n", &processor, &length) != 1 || processor < 0) {
        return -1;
    }
    const char *rest = line + length;
    for (int i = 0; i < STAT_FIELDS; i++) {
        char *end;
        fields[i] = strtoull(rest, &end, 10);
        if (end == rest) {
            return -1;
        }
        rest = end;
    }
    return processor;
}

bool machine_files_processors(const char *root, struct processor_times times[MACHINE_PROCESSORS]) {
    FILE *file = open_below(root, "/proc/stat");
    if (file == NULL) {
        return false;
    }
    memset(times, 0, MACHINE_PROCESSORS * sizeof *times);
    uint64_t tick = UINT64_C(1000000000) / (uint64_t)sysconf(_SC_CLK_TCK), all = 0;
    char line[LINE];
    while (fgets(line, sizeof line, file) != NULL && strncmp(line, "cpu", 3) == 0) {
        uint64_t fields[STAT_FIELDS];
        int processor = parse_processor(line, fields);
        if (processor < 0 || processor >= MACHINE_PROCESSORS) {
            continue;
        }
        for (int i = 0; i < STAT_FIELDS; i++) {
            all += fields[i];
        }
        times[processor].online = true;
        times[processor].idle = (fields[IDLE] + fields[IOWAIT]) * tick;
        times[processor].stolen = fields[STEAL] * tick;
    }
    fclose(file);
    return all != 0;
}

/* --- control groups --- */

/* Whether a list such as `cpu,cpuacct` has this member. */
static bool has_member(const char *list, const char *member) {
    size_t length = strlen(member);
    for (const char *at = list; (at = strstr(at, member)) != NULL; at += length) {
        bool begins = at == list || at[-1] == ',';
        if (begins && (at[length] == ',' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

/* Where the group is that limits this process' processor time, and room to find it: more than the stack
 * of a thread may have. */
struct group_place {
    bool unified;     /* version 2 */
    char group[PATH]; /* as /proc/self/cgroup has it */
    char mount[PATH]; /* the mount point, without `root` */
    char mounted[PATH];
    char line[3 * PATH];
    char folder[3 * PATH];
};

/* Find the group in /proc/self/cgroup: lines of `number:controllers:path`. A hierarchy of version 1
 * that has the controller goes first. */
static bool find_group(const char *root, struct group_place *place) {
    FILE *file = open_below(root, "/proc/self/cgroup");
    if (file == NULL) {
        return false;
    }
    bool found = false;
    char *line = place->line;
    while (fgets(line, PATH, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (group == NULL) {
            continue;
        }
        *controllers++ = *group++ = '\0';
        bool legacy = has_member(controllers, "cpu");
        if (legacy || (!found && strcmp(line, "0") == 0 && *controllers == '\0')) {
            found = true;
            place->unified = !legacy;
            snprintf(place->group, sizeof place->group, "%s", group);
        }
    }
    fclose(file);
    return found;
}

/* Undo the octal escapes of mountinfo (`\040` for a space), in place. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from != '\0'; to++) {
        unsigned character;
        if (from[0] == '\\' && strlen(from) >= 4 && sscanf(from + 1, "%3o", &character) == 1) {
            *to = (char)character;
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

/* Take the part of a group's path that lies below the root of its mount; "" where it lies above or
 * beside, as in a container that sees its host's names: then the mount itself is the group's. */
static const char *below_mount(const char *group, const char *mounted) {
    size_t length = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    bool below = strncmp(group, mounted, length) == 0 && (group[length] == '/' || !group[length]);
    return below && strcmp(group + length, "/") != 0 ? group + length : "";
}

/* Read the line of mountinfo: `36 35 98:0 ROOT MOUNT options optional... - type source options`.
 * Returns whether it is the mount of the group's hierarchy, and then the place is complete. */
static bool is_its_mount(struct group_place *place) {
    char type[32], options[LINE];
    char *line = place->line, *mounted = place->mounted, *mount = place->mount;
    char *rest = strstr(line, " - ");
    if (rest == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", mounted, mount) != 2 ||
        sscanf(rest, " - %31s %*s %1023s", type, options) != 2) {
        return false;
    }
    if (place->unified ? strcmp(type, "cgroup2") != 0
                       : strcmp(type, "cgroup") != 0 || !has_member(options, "cpu")) {
        return false;
    }
    unescape(mounted);
    unescape(mount);
    const char *below = below_mount(place->group, mounted);
    memmove(place->group, below, strlen(below) + 1);
    return true;
}

static bool find_mount(const char *root, struct group_place *place) {
    FILE *file = open_below(root, "/proc/self/mountinfo");
    if (file == NULL) {
        return false;
    }
    bool found = false;
    while (!found && fgets(place->line, sizeof place->line, file) != NULL) {
        found = is_its_mount(place);
    }
    fclose(file);
    return found;
}

/* Whether a group has a quota. `max` and -1 stand for none. */
static bool has_quota(const char *folder, bool unified) {
    FILE *file = open_below(folder, unified ? "/cpu.max" : "/cpu.cfs_quota_us");
    long long quota;
    bool has = file != NULL && fscanf(file, "%lld", &quota) == 1 && quota > 0;
    if (file != NULL) {
        fclose(file);
    }
    return has;
}

/* Keep the path of a group's cpu.stat if the group has a quota. */
static void keep_if_limited(const char *root, struct group_place *place,
                            struct machine_groups *groups) {
    snprintf(place->folder, sizeof place->folder, "%s%s%s", root, place->mount, place->group);
    if (has_quota(place->folder, place->unified) && groups->count < MACHINE_GROUPS) {
        strcat(place->folder, "/cpu.stat");
        char *path = strdup(place->folder);
        if (path != NULL) {
            groups->stat[groups->count++] = path;
        }
    }
}

void machine_files_find_groups(const char *root, struct machine_groups *groups) {
    while (groups->count != 0) {
        free(groups->stat[--groups->count]);
    }
    struct group_place *place = malloc(sizeof *place);
    groups->known = place != NULL && find_group(root, place) &&
                    strstr(place->group, "/..") == NULL && find_mount(root, place);
    if (groups->known) {
        keep_if_limited(root, place, groups);
        for (char *last; (last = strrchr(place->group, '/')) != NULL;) {
            *last = '\0';
            keep_if_limited(root, place, groups);
        }
    }
    free(place);
}

static bool add_throttled(const char *path, uint64_t *nanoseconds) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool found = false;
    char line[LINE];
    while (!found && fgets(line, sizeof line, file) != NULL) {
        uint64_t value;
        if (sscanf(line, "throttled_usec %" SCNu64, &value) == 1) {
            *nanoseconds += value * 1000;
            found = true;
        } else if (sscanf(line, "throttled_time %" SCNu64, &value) == 1) {
            *nanoseconds += value;
            found = true;
        }
    }
    fclose(file);
    return found;
}

bool machine_files_throttled(const struct machine_groups *groups, uint64_t *nanoseconds) {
    *nanoseconds = 0;
    for (size_t i = 0; i < groups->count; i++) {
        if (!add_throttled(groups->stat[i], nanoseconds)) {
            return false;
        }
    }
    return groups->known;
}

/* --- pressure --- */

bool machine_files_pressure(const char *root, uint64_t *nanoseconds) {
    FILE *file = open_below(root, "/proc/pressure/cpu");
    if (file == NULL) {
        return false;
    }
    uint64_t microseconds;
    bool found =
        fscanf(file, "some avg10=%*s avg60=%*s avg300=%*s total=%" SCNu64, &microseconds) == 1;
    fclose(file);
    *nanoseconds = found ? microseconds * 1000 : 0;
    return found;
}
