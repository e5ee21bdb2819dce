/* What the parts of the library share. Not for authors. */
#ifndef FLOCKER_INSIDE_H
#define FLOCKER_INSIDE_H

#include <stdarg.h>

#include "../gen/wit.h"
#include "../include/flocker.h"

/* Memory until the decision is made. Never NULL: a policy that runs out of memory ends, and the built-in one decides. */
void *flocker_take(size_t size);
/* The host's text, as C has it. */
const char *flocker_c_text(const wit_string_t *text);
/* As flocker_format. */
char *flocker_format_list(const char *format, va_list arguments);
/* `text` as the arguments after `format` say it. */
#define FORMAT(text, format) \
    const char *text; \
    { va_list arguments; va_start(arguments, format); text = flocker_format_list(format, arguments); va_end(arguments); }
/* Text for the host, which frees it. */
wit_string_t flocker_host_text(const char *text);
/* Memory for the host, which frees it. */
void *flocker_host_memory(size_t size);

/* Between these two, the cluster can be asked. */
void flocker_begin(flocker_plugin_cluster_borrow_view_t view);
void flocker_end(void);

/* Forgets the columns of a decision. */
void flocker_forget_columns(void);
extern flocker_plugin_cluster_borrow_view_t flocker_view;

/* Keeps the settings. */
void flocker_keep_settings(const wit_string_t *json);

#endif
