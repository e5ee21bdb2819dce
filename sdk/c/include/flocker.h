/* Policies for flocker-runtime in C: what a policy may ask, and what it may answer.
 *
 * A policy defines FLOCKER_POLICY once, and one of FLOCKER_PLACEMENT, FLOCKER_REBALANCE, FLOCKER_FAILOVER and
 * FLOCKER_BACKUPS for each hook that it has. Text and rows are good for the decision in which they were got. A column is
 * fetched from the host when it is first asked for, once per decision, and others never.
 *
 * Nothing here may be called before a question is asked, except the flocker_setting functions. */
#ifndef FLOCKER_H
#define FLOCKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The best score. */
#define FLOCKER_SCORE_MAX 10000u
/* A number that is missing. */
#define FLOCKER_MISSING UINT64_MAX
/* The lane of snapshots on the owner's node. */
#define FLOCKER_SNAPSHOT "snapshot"

/* ---- Rows of the cluster. They are compared with FLOCKER_SAME. -------------------------------------------------- */

typedef enum { FLOCKER_NODES, FLOCKER_APPS, FLOCKER_VOLUMES, FLOCKER_REPLICAS } flocker_table;

/* Types of their own, so that the compiler catches a swap. A row that is none has the number UINT32_MAX. */
typedef struct { uint32_t row; } flocker_node;
typedef struct { uint32_t row; } flocker_app;
typedef struct { uint32_t row; } flocker_volume;
typedef struct { uint32_t row; } flocker_replica;

#define FLOCKER_SAME(a, b) ((a).row == (b).row)
#define FLOCKER_IS_NONE(a) ((a).row == UINT32_MAX)

/* How many rows a table has; row numbers are smaller. In alphabetical order of the names. */
uint32_t flocker_rows(flocker_table table);

/* Any column of wit/columns.md: a number, FLOCKER_MISSING where there is none; text, NULL where there is none. */
uint64_t flocker_number(flocker_table table, const char *column, uint32_t row);
const char *flocker_text(flocker_table table, const char *column, uint32_t row);
/* The value of a label; NULL where there is none. Nodes and apps have labels. */
const char *flocker_label(flocker_table table, const char *key, uint32_t row);
/* The first row whose column refers to the row `to`, and the one after `row` that refers to the same; UINT32_MAX when there
 * is none. */
uint32_t flocker_first(flocker_table table, const char *column, uint32_t to);
uint32_t flocker_next(flocker_table table, const char *column, uint32_t row);

/* Whether two texts are the same; NULL is like no other. */
static inline bool flocker_is(const char *a, const char *b) { return a && b && strcmp(a, b) == 0; }

/* A number column, 0 where it is missing. */
static inline uint64_t flocker_number_or_zero(flocker_table table, const char *column, uint32_t row)
{
    uint64_t number = flocker_number(table, column, row);
    return number == FLOCKER_MISSING ? 0 : number;
}

/* A column that refers to a row. */
static inline uint32_t flocker_reference(flocker_table table, const char *column, uint32_t row)
{
    uint64_t number = flocker_number(table, column, row);
    return number < UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

#define FLOCKER_COLUMN(kind, table, name, column) \
    static inline uint64_t flocker_##kind##_##name(flocker_##kind r) { return flocker_number_or_zero(table, column, r.row); }
#define FLOCKER_MOMENT(kind, table, name, column) \
    static inline uint64_t flocker_##kind##_##name(flocker_##kind r) { return flocker_number(table, column, r.row); }
#define FLOCKER_FLAG(kind, table, name, column) \
    static inline bool flocker_##kind##_##name(flocker_##kind r) { return flocker_number_or_zero(table, column, r.row) != 0; }
#define FLOCKER_WORDS(kind, table, name, column) \
    static inline const char *flocker_##kind##_##name(flocker_##kind r) \
    { const char *text = flocker_text(table, column, r.row); return text ? text : ""; }
#define FLOCKER_LINK(kind, table, to, column) \
    static inline flocker_##to flocker_##kind##_##to(flocker_##kind r) \
    { flocker_##to found = { flocker_reference(table, column, r.row) }; return found; }
#define FLOCKER_LABEL(kind, table) \
    static inline const char *flocker_##kind##_label(flocker_##kind r, const char *key) { return flocker_label(table, key, r.row); }

/* Nodes. Memory, pool: bytes; *free* is what no app was promised. CPU and load: thousandths. */
FLOCKER_WORDS(node, FLOCKER_NODES, name, "name")
FLOCKER_FLAG(node, FLOCKER_NODES, is_alive, "alive")
FLOCKER_FLAG(node, FLOCKER_NODES, is_draining, "draining")
FLOCKER_COLUMN(node, FLOCKER_NODES, memory, "memory-bytes")
FLOCKER_COLUMN(node, FLOCKER_NODES, memory_free, "memory-free-bytes")
FLOCKER_COLUMN(node, FLOCKER_NODES, memory_promised, "memory-promised-bytes")
FLOCKER_COLUMN(node, FLOCKER_NODES, cpu_millis, "cpu-millis")
FLOCKER_COLUMN(node, FLOCKER_NODES, cpu_promised_millis, "cpu-promised-millis")
FLOCKER_COLUMN(node, FLOCKER_NODES, pool, "pool-bytes")
FLOCKER_COLUMN(node, FLOCKER_NODES, pool_free, "pool-free-bytes")
FLOCKER_COLUMN(node, FLOCKER_NODES, load_millis, "load-millis")
FLOCKER_COLUMN(node, FLOCKER_NODES, apps, "apps")
FLOCKER_COLUMN(node, FLOCKER_NODES, volumes, "volumes")
FLOCKER_LABEL(node, FLOCKER_NODES)

/* Apps. What they may use; 0 where it is not limited. A moment that is not known is FLOCKER_MISSING. */
FLOCKER_WORDS(app, FLOCKER_APPS, name, "name")
FLOCKER_LINK(app, FLOCKER_APPS, node, "node")
FLOCKER_COLUMN(app, FLOCKER_APPS, memory, "memory-bytes")
FLOCKER_COLUMN(app, FLOCKER_APPS, cpu_millis, "cpu-millis")
FLOCKER_COLUMN(app, FLOCKER_APPS, size, "size-bytes")
FLOCKER_MOMENT(app, FLOCKER_APPS, placed_ms, "placed-ms")
FLOCKER_LABEL(app, FLOCKER_APPS)

/* Volumes: bytes that may be and that are written; when somebody last wrote, when the newest snapshot was taken. */
FLOCKER_WORDS(volume, FLOCKER_VOLUMES, name, "name")
FLOCKER_LINK(volume, FLOCKER_VOLUMES, app, "app")
FLOCKER_LINK(volume, FLOCKER_VOLUMES, node, "node")
FLOCKER_COLUMN(volume, FLOCKER_VOLUMES, size, "size-bytes")
FLOCKER_COLUMN(volume, FLOCKER_VOLUMES, used, "used-bytes")
FLOCKER_MOMENT(volume, FLOCKER_VOLUMES, written_ms, "written-ms")
FLOCKER_MOMENT(volume, FLOCKER_VOLUMES, snapshot_ms, "snapshot-ms")

/* Replicas: when the snapshot that they hold was taken. */
FLOCKER_LINK(replica, FLOCKER_REPLICAS, volume, "volume")
FLOCKER_LINK(replica, FLOCKER_REPLICAS, node, "node")
FLOCKER_MOMENT(replica, FLOCKER_REPLICAS, taken_ms, "taken-ms")

/* Every row of a table, one after the other:
 *     FLOCKER_EACH(node, FLOCKER_NODES) { … flocker_node_apps(node) … } */
#define FLOCKER_EACH(kind, table) \
    for (flocker_##kind kind = { 0 }; kind.row < flocker_rows(table); kind.row++)
/* The rows that refer to another one:
 *     FLOCKER_EACH_OF(replica, FLOCKER_REPLICAS, "volume", volume) { … } */
#define FLOCKER_EACH_OF(kind, table, column, of) \
    for (flocker_##kind kind = { flocker_first(table, column, (of).row) }; !FLOCKER_IS_NONE(kind); \
         kind.row = flocker_next(table, column, kind.row))

/* ---- Answers ---------------------------------------------------------------------------------------------------- */

/* Text that is good until the answer is given, as printf makes it. */
char *flocker_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Where an app should be: -1 is a refusal. The code is one of wit/codes.md, or your own from 1000 on. */
typedef struct { int32_t points; uint32_t code; const char *reason; } flocker_score;

/* From 0 (as bad as it gets, but possible) to 10000 (perfect). More than that counts as 10000. */
flocker_score flocker_good(uint64_t points);
/* `part` of `whole` as a score: 3 of 4 is 7500. 0 when there is no whole. */
flocker_score flocker_share(uint64_t part, uint64_t whole);
/* Never there, and why: one policy's refusal is final. */
flocker_score flocker_refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says why; `flocker explain` shows it. */
flocker_score flocker_because(flocker_score score, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is to be placed. */
typedef struct {
    const char *name, *purpose; /* purpose: "create", "operator", "drain", "rebalance" */
    uint64_t memory, size;      /* bytes that it may use; 0 where it is not limited */
    uint32_t cpu_millis;        /* thousandths of a CPU; 0 where it is not limited */
    size_t volumes;             /* how many it has */
    flocker_node at;            /* where it is now, if anywhere */
    const uint32_t *holders;    /* rows of nodes that hold its data */
    size_t n_holders, n_labels;
    const struct flocker_pair { const char *key, *value; } *labels; /* of its containers */
} flocker_request;

/* A label of its containers; NULL where there is none. */
const char *flocker_request_label(const flocker_request *request, const char *key);
/* Whether it is on this node now: what it uses is then among what the node has promised. */
static inline bool flocker_request_is_at(const flocker_request *request, flocker_node node) { return FLOCKER_SAME(request->at, node); }
/* Whether this node holds a copy of its data, so that less has to travel. */
bool flocker_request_is_held_by(const flocker_request *request, flocker_node node);

/* A move that would be good for the cluster. The gain is compared with your own only, the largest first. */
typedef struct { flocker_app app; flocker_node target; double gain; const char *reason; } flocker_move;

/* A node is silent. */
typedef struct {
    flocker_node node;
    uint64_t now_ms, silent_ms;
    bool fenced;            /* whether it is certain that it runs nothing any more */
    uint32_t votes, quorum; /* how many agree that it is silent, and how many must */
} flocker_incident;

/* What becomes of a volume: made by one of the three functions. */
typedef struct { uint32_t code, wait_ms; flocker_replica replica; const char *reason; } flocker_verdict;

/* Ask again after that time. */
flocker_verdict flocker_wait(uint64_t wait_ms, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Its owner is the replica's node from now on. What was written after the replica's snapshot is lost. */
flocker_verdict flocker_promote(flocker_replica replica, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Leave it to an operator. */
flocker_verdict flocker_freeze(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A snapshot or a backup that exists. */
typedef struct { const char *tag, *label; uint64_t taken_ms, bytes; } flocker_copy;

/* In `due` of FLOCKER_BACKUPS: this volume is due in that lane then. */
void flocker_due(flocker_volume volume, uint64_t at_ms, const char *lane, const char *label);
/* In `due`: ask again after that time at the latest. Unless it is called, that is the horizon. */
void flocker_ask_again(uint64_t after_ms);
/* In `prune`: the copy at that position may go. */
void flocker_drop(size_t copy, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- The log and metrics of the node ---------------------------------------------------------------------------- */

void flocker_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void flocker_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void flocker_count(const char *metric, uint64_t more);

/* ---- Settings --------------------------------------------------------------------------------------------------- */

/* The settings as JSON, as the operator wrote them; "" where there are none. */
const char *flocker_settings(void);
/* A setting by its key, or `otherwise` where it is not set. Settings inside others are for a JSON library. */
const char *flocker_setting_text(const char *key, const char *otherwise);
double flocker_setting_number(const char *key, double otherwise);
bool flocker_setting_flag(const char *key, bool otherwise);

/* ---- What a policy is made of ----------------------------------------------------------------------------------- */

/* Once in every policy: what it is called. */
#define FLOCKER_POLICY(name, version) \
    const char *const flocker_policy_name = name; \
    const char *const flocker_policy_version = version

/* Its settings: a JSON schema, which the host has checked them against, and `const char *configure(void)`, which answers
 * NULL, or what is wrong. A policy that does not say this has no settings, and refuses any. */
#define FLOCKER_SETTINGS(schema, configure) \
    const char *const flocker_policy_schema = schema; \
    const char *(*const flocker_policy_configure)(void) = configure

#include "flocker/exports.h"

#endif
