/* Memory that lasts for one decision, text, and the log. */
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

struct block { struct block *before; max_align_t bytes[]; };

static struct block *blocks;
flocker_plugin_cluster_borrow_view_t flocker_view;

void *flocker_host_memory(size_t size)
{
    void *memory = malloc(size ? size : 1);
    if (!memory)
        abort();
    return memory;
}

void *flocker_take(size_t size)
{
    struct block *block = flocker_host_memory(sizeof *block + size);
    block->before = blocks;
    blocks = block;
    return block->bytes;
}

const char *flocker_c_text(const wit_string_t *text)
{
    char *copy = flocker_take(text->len + 1);
    memcpy(copy, text->ptr, text->len);
    copy[text->len] = '\0';
    return copy;
}

wit_string_t flocker_host_text(const char *text)
{
    wit_string_t copy = { NULL, text ? strlen(text) : 0 };
    copy.ptr = flocker_host_memory(copy.len);
    memcpy(copy.ptr, text ? text : "", copy.len);
    return copy;
}

void flocker_begin(flocker_plugin_cluster_borrow_view_t view)
{
    flocker_end();
    flocker_view = view;
}

void flocker_end(void)
{
    flocker_forget_columns();
    while (blocks) {
        struct block *block = blocks;
        blocks = block->before;
        free(block);
    }
}

char *flocker_format_list(const char *format, va_list arguments)
{
    char most[256]; /* printf is slow, and nearly every text is shorter: it need not run twice */
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(most, sizeof most, format, arguments);
    size_t size = length < 0 ? 1 : (size_t)length + 1;
    char *text = flocker_take(size);
    if (size > sizeof most)
        vsnprintf(text, size, format, again);
    else
        memcpy(text, most, size);
    text[size - 1] = '\0';
    va_end(again);
    return text;
}

char *flocker_format(const char *format, ...)
{
    FORMAT(text, format)
    return (char *)text;
}

static void say(flocker_plugin_log_level_t level, const char *text)
{
    wit_string_t message = { (uint8_t *)text, strlen(text) };
    wit_list_tuple2_string_string_t none = { NULL, 0 };
    flocker_plugin_log_write(level, &message, &none);
}

void flocker_info(const char *format, ...)
{
    FORMAT(text, format)
    say(FLOCKER_PLUGIN_LOG_LEVEL_INFO, text);
}

void flocker_warn(const char *format, ...)
{
    FORMAT(text, format)
    say(FLOCKER_PLUGIN_LOG_LEVEL_WARN, text);
}

void flocker_count(const char *metric, uint64_t more)
{
    wit_string_t name = { (uint8_t *)metric, strlen(metric) };
    flocker_plugin_metrics_counter_add(&name, more);
}
