/* Backup schedules: between the component's exports and the author's functions. */
#include "inside.h"

#include <stdarg.h>
#include <stdlib.h>

void (*flocker_hook_due)(flocker_volume, uint64_t, uint64_t);
void (*flocker_hook_prune)(flocker_volume, const char *, const flocker_copy *, size_t, uint64_t);

/* What `due` and `prune` said so far. */
static exports_flocker_plugin_backup_schedule_list_due_t due;
static exports_flocker_plugin_backup_schedule_list_droppable_t droppable;
static size_t due_max, droppable_max;
static uint64_t ask_again_ms;

/* Room for one more; the host frees it in the end. */
static void *room(void *items, size_t n, size_t *max, size_t size)
{
    if (n < *max)
        return items;
    *max = *max ? 2 * *max : 16;
    void *more = realloc(items, *max * size);
    if (!more)
        abort();
    return more;
}

void flocker_due(flocker_volume volume, uint64_t at_ms, const char *lane, const char *label)
{
    due.ptr = room(due.ptr, due.len, &due_max, sizeof *due.ptr);
    due.ptr[due.len++] = (exports_flocker_plugin_backup_schedule_due_t){
        volume.row, at_ms, flocker_host_text(lane), flocker_host_text(label), { NULL, 0 } };
}

void flocker_ask_again(uint64_t after_ms) { ask_again_ms = after_ms; }

void flocker_drop(size_t copy, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const char *reason = flocker_format_list(format, arguments);
    va_end(arguments);
    droppable.ptr = room(droppable.ptr, droppable.len, &droppable_max, sizeof *droppable.ptr);
    /* A position that is too large for the contract is no copy's, and refused as such. */
    droppable.ptr[droppable.len++] = (exports_flocker_plugin_backup_schedule_droppable_t){
        copy < UINT32_MAX ? (uint32_t)copy : UINT32_MAX, flocker_host_text(reason) };
}

bool exports_flocker_plugin_backup_schedule_next(exports_flocker_plugin_backup_schedule_context_t *context,
    exports_flocker_plugin_backup_schedule_borrow_view_t cluster, wit_list_u32_t *volumes, uint64_t horizon_ms,
    exports_flocker_plugin_backup_schedule_schedule_t *schedule, exports_flocker_plugin_backup_schedule_failure_t *failure)
{
    (void)failure;
    flocker_begin(cluster);
    memset(&due, 0, sizeof due);
    due_max = 0;
    ask_again_ms = horizon_ms;
    for (size_t i = 0; i < volumes->len; i++)
        flocker_hook_due((flocker_volume){ volumes->ptr[i] }, context->now_ms, horizon_ms);
    schedule->due = due;
    schedule->ask_again_ms = ask_again_ms;
    flocker_end();
    flocker_plugin_types_context_free(context);
    wit_list_u32_free(volumes);
    return true;
}

bool exports_flocker_plugin_backup_schedule_prune(exports_flocker_plugin_backup_schedule_context_t *context,
    exports_flocker_plugin_backup_schedule_borrow_view_t cluster, uint32_t volume, wit_string_t *lane,
    exports_flocker_plugin_backup_schedule_list_backup_copy_t *known,
    exports_flocker_plugin_backup_schedule_list_droppable_t *may_go, exports_flocker_plugin_backup_schedule_failure_t *failure)
{
    (void)failure;
    flocker_begin(cluster);
    memset(&droppable, 0, sizeof droppable);
    droppable_max = 0;
    flocker_copy *copies = flocker_take(known->len * sizeof *copies);
    for (size_t i = 0; i < known->len; i++)
        copies[i] = (flocker_copy){ flocker_c_text(&known->ptr[i].tag), flocker_c_text(&known->ptr[i].label),
            known->ptr[i].taken_ms, known->ptr[i].bytes };
    if (flocker_hook_prune)
        flocker_hook_prune((flocker_volume){ volume }, flocker_c_text(lane), copies, known->len, context->now_ms);
    *may_go = droppable;
    flocker_end();
    flocker_plugin_types_context_free(context);
    wit_string_free(lane);
    exports_flocker_plugin_backup_schedule_list_backup_copy_free(known);
    return true;
}
