/* The cluster's columns: each is fetched from the host when it is first asked for, once per decision, and others never.
 * That is what keeps a question about thousands of rows cheap. */
#include "inside.h"

#include <stdlib.h>

#define NONE UINT32_MAX

static const char *const TABLES[] = { "nodes", "apps", "volumes", "replicas" };

enum kind { NUMBERS, TEXTS, LABELS };

struct column {
    struct column *before;
    enum kind kind;
    const char *name;
    size_t n;               /* 0 where there is no such column */
    uint64_t *numbers;      /* the host's, freed after the decision */
    const char **texts;
    uint32_t *first, *next; /* which rows refer to which; made when first asked for */
    size_t n_first;
};

static struct column *columns[4];
static uint32_t n_rows[4]; /* one more than there are, 0 = not known yet */

static wit_string_t borrowed(const char *text) { return (wit_string_t){ (uint8_t *)text, strlen(text) }; }

uint32_t flocker_rows(flocker_table table)
{
    if (n_rows[table] == 0) {
        wit_string_t name = borrowed(TABLES[table]);
        uint32_t n = 0;
        n_rows[table] = flocker_plugin_cluster_method_view_rows(flocker_view, &name, &n) ? n + 1 : 1;
    }
    return n_rows[table] - 1;
}

/* The texts of ids; 0 is a missing one. Every text crosses the border once, however many rows have it. */
static const char **texts_of(const uint32_t *ids, size_t n)
{
    size_t n_slots = 8;
    while (n_slots < 2 * n)
        n_slots *= 2;
    struct { uint32_t id, place; } *slots = flocker_take(n_slots * sizeof *slots);
    memset(slots, 0, n_slots * sizeof *slots);
    uint32_t *distinct = flocker_take(n * sizeof *distinct), *places = flocker_take(n * sizeof *places);
    size_t n_distinct = 0;
    for (size_t i = 0; i < n; i++) {
        size_t slot = (ids[i] * 2654435761u) & (n_slots - 1);
        while (slots[slot].id && slots[slot].id != ids[i])
            slot = (slot + 1) & (n_slots - 1);
        if (ids[i] && !slots[slot].id) {
            slots[slot].id = ids[i];
            slots[slot].place = (uint32_t)n_distinct;
            distinct[n_distinct++] = ids[i];
        }
        places[i] = slots[slot].place;
    }
    wit_list_u32_t asked = { distinct, n_distinct };
    wit_list_string_t said;
    flocker_plugin_cluster_method_view_texts(flocker_view, &asked, &said);
    const char **distinct_texts = flocker_take(n_distinct * sizeof *distinct_texts);
    for (size_t i = 0; i < n_distinct; i++)
        distinct_texts[i] = i < said.len ? flocker_c_text(&said.ptr[i]) : NULL;
    wit_list_string_free(&said);
    const char **texts = flocker_take(n * sizeof *texts);
    for (size_t i = 0; i < n; i++)
        texts[i] = ids[i] ? distinct_texts[places[i]] : NULL;
    return texts;
}

static void fetch(struct column *column, flocker_table table)
{
    wit_string_t in = borrowed(TABLES[table]);
    if (column->kind == NUMBERS) {
        wit_string_t name = borrowed(column->name);
        wit_list_u64_t numbers;
        if (flocker_plugin_cluster_method_view_u64s(flocker_view, &in, &name, &numbers)) {
            column->n = numbers.len;
            column->numbers = numbers.len ? numbers.ptr : NULL;
        }
        return;
    }
    wit_string_t name = borrowed(column->kind == LABELS ? flocker_format("label:%s", column->name) : column->name);
    wit_list_u32_t ids;
    if (flocker_plugin_cluster_method_view_ids(flocker_view, &in, &name, &ids)) {
        column->n = ids.len;
        column->texts = texts_of(ids.ptr, ids.len);
        wit_list_u32_free(&ids);
    }
}

static struct column *column_of(flocker_table table, enum kind kind, const char *name)
{
    for (struct column *c = columns[table]; c; c = c->before)
        if (c->kind == kind && strcmp(c->name, name) == 0)
            return c;
    size_t length = strlen(name) + 1;
    struct column *column = flocker_take(sizeof *column);
    /* The caller may write something else where its name stood. */
    *column = (struct column){ .before = columns[table], .kind = kind, .name = memcpy(flocker_take(length), name, length) };
    columns[table] = column;
    fetch(column, table);
    return column;
}

uint64_t flocker_number(flocker_table table, const char *name, uint32_t row)
{
    const struct column *column = column_of(table, NUMBERS, name);
    return row < column->n ? column->numbers[row] : FLOCKER_MISSING;
}

const char *flocker_text(flocker_table table, const char *name, uint32_t row)
{
    const struct column *column = column_of(table, TEXTS, name);
    return row < column->n ? column->texts[row] : NULL;
}

const char *flocker_label(flocker_table table, const char *key, uint32_t row)
{
    const struct column *column = column_of(table, LABELS, key);
    return row < column->n ? column->texts[row] : NULL;
}

static const struct column *referring(flocker_table table, const char *name)
{
    struct column *column = column_of(table, NUMBERS, name);
    if (column->first || column->n == 0)
        return column;
    for (size_t i = 0; i < column->n; i++)
        if (column->numbers[i] < NONE && column->numbers[i] >= column->n_first)
            column->n_first = (size_t)column->numbers[i] + 1;
    column->first = flocker_take((column->n_first + 1) * sizeof *column->first);
    column->next = flocker_take(column->n * sizeof *column->next);
    memset(column->first, 0xff, (column->n_first + 1) * sizeof *column->first);
    for (size_t i = column->n; i-- > 0;) {
        uint64_t to = column->numbers[i];
        column->next[i] = to < NONE ? column->first[to] : NONE;
        if (to < NONE)
            column->first[to] = (uint32_t)i;
    }
    return column;
}

uint32_t flocker_first(flocker_table table, const char *name, uint32_t to)
{
    const struct column *column = referring(table, name);
    return to < column->n_first ? column->first[to] : NONE;
}

uint32_t flocker_next(flocker_table table, const char *name, uint32_t row)
{
    const struct column *column = referring(table, name);
    return row < column->n ? column->next[row] : NONE;
}

void flocker_forget_columns(void)
{
    for (size_t table = 0; table < 4; table++) {
        for (struct column *c = columns[table]; c; c = c->before)
            free(c->numbers);
        columns[table] = NULL;
        n_rows[table] = 0;
    }
}
