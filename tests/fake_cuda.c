/* An NVIDIA driver without a GPU: the functions that sknn/cuda/driver.py calls, to be loaded by
   cuda.bindings in the place of libcuda.so.1. Memory is the host's. Kernels do not run; what a
   stream is asked for is written to a log, or, while it is captured, to a graph that adds it to the
   log at each launch. fake_set changes how many GPUs there are, and makes functions fail. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long long address;
typedef struct { char text[1 << 14]; } record;
typedef struct { char name[64]; int n_arguments; } function;

static int gpus = 1, version = 13090, capability = 90, n_arguments = 3, pending, owner;
static long long room = 1 << 20;
static char failing[64];
static int failing_code;
static record logged, *captured;
static void *captured_stream;
static _Thread_local int depth;
static _Thread_local void *current[16];

enum { OK, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, NO_DEVICE = 100, INVALID_CONTEXT = 201,
       NOT_READY = 600, CAPTURE_UNSUPPORTED = 900 };

static void say(void *stream, const char *format, ...) {
    record *to = captured && stream == captured_stream ? captured : &logged;
    size_t n = strlen(to->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(to->text + n, sizeof to->text - n, format, arguments);
    va_end(arguments);
}

static int fails(const char *name) {
    if (strcmp(failing, name)) return OK;
    failing[0] = 0;
    return failing_code;
}

#define BEGIN if (fails(__func__)) return failing_code
#define INSIDE BEGIN; if (!depth || current[depth - 1] != (void *)0x100) return INVALID_CONTEXT

void fake_set(const char *what, long long value) {
    if (!strcmp(what, "gpus")) gpus = value;
    else if (!strcmp(what, "version")) version = value;
    else if (!strcmp(what, "capability")) capability = value;
    else if (!strcmp(what, "arguments")) n_arguments = value;
    else if (!strcmp(what, "pending")) pending = value;
    else { strcpy(failing, what); failing_code = value; }
}
const char *fake_log(void) {
    static record out;
    out = logged;
    logged.text[0] = 0;
    return out.text;
}
long long fake_room(void) { return room; }
/* The context that the calling thread has, as a number; 0 where it has none. */
long long fake_context(void) { return depth ? (intptr_t)current[depth - 1] : 0; }

int cuGetProcAddress_v2(const char *name, void **found, int v, uint64_t flags, int *status) {
    (void)v, (void)flags;
    *found = dlsym(RTLD_DEFAULT, name);
    if (!*found) {
        void *self = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_NOW);
        *found = dlsym(self, name);
    }
    if (status) *status = *found ? 0 : 1;
    return *found ? OK : 500;
}
int cuGetErrorString(int error, const char **text) {
    static char out[32];
    snprintf(out, sizeof out, "error %d", error);
    *text = out;
    return OK;
}
int cuInit(unsigned flags) {
    (void)flags;
    BEGIN;
    if (owner && owner != getpid()) return NOT_INITIALIZED;
    if (!gpus) return NO_DEVICE;
    owner = getpid();
    return OK;
}
int cuDriverGetVersion(int *out) { *out = version; return OK; }
int cuDeviceGetCount(int *out) { *out = gpus; return OK; }
int cuDeviceGet(int *out, int index) { *out = index; return index < gpus ? OK : INVALID_VALUE; }
int cuDeviceGetName(char *out, int n, int device) {
    snprintf(out, n, "Fake %d", device);
    return OK;
}
int cuDeviceGetAttribute(int *out, int which, int device) {
    (void)device;
    *out = which == 16 ? 132 : which == 75 ? capability / 10 : which == 76 ? capability % 10 : -1;
    return OK;
}
int cuDevicePrimaryCtxRetain(void **out, int device) {
    (void)device;
    BEGIN;
    *out = (void *)0x100;
    return OK;
}
int cuCtxPushCurrent(void *context) { BEGIN; current[depth++] = context; return OK; }
int cuCtxPopCurrent(void **out) {
    if (!depth) return INVALID_CONTEXT;
    *out = current[--depth];
    return OK;
}
int cuStreamCreate(void **out, unsigned flags) {
    static intptr_t n = 0;
    INSIDE;
    if (flags != 1) return INVALID_VALUE;
    *out = (void *)(0x200 + n++ % 2);
    return OK;
}
int cuStreamSynchronize(void *stream) {
    INSIDE;
    if (captured && stream == captured_stream) return CAPTURE_UNSUPPORTED;
    say(NULL, "synchronize %p\n", stream);
    return OK;
}
int cuMemGetInfo(size_t *free_, size_t *total) {
    INSIDE;
    *free_ = room, *total = 1 << 20;
    return OK;
}
int cuMemAlloc(address *out, size_t n) {
    INSIDE;
    if (!n) return INVALID_VALUE;
    if ((long long)n > room) return OUT_OF_MEMORY;
    size_t *block = aligned_alloc(256, (n + 511) / 256 * 256);
    *block = n;
    room -= n;
    *out = (address)(uintptr_t)block + 256;
    return OK;
}
int cuMemFree(address memory) {
    INSIDE;
    size_t *block = (size_t *)(uintptr_t)(memory - 256);
    room += *block;
    free(block);
    return OK;
}
int cuMemHostAlloc(void **out, size_t n, unsigned flags) {
    INSIDE;
    if (flags) return INVALID_VALUE;
    say(NULL, "pinned %zu\n", n);
    *out = malloc(n);
    return OK;
}
int cuMemFreeHost(void *memory) {
    INSIDE;
    say(NULL, "unpinned\n");
    free(memory);
    return OK;
}
int cuMemsetD8Async(address to, unsigned char value, size_t n, void *stream) {
    INSIDE;
    say(stream, "%p fill %d %zu\n", stream, value, n);
    memset((void *)(uintptr_t)to, value, n);
    return OK;
}
static int copy(const char *what, void *to, const void *from, size_t n, void *stream) {
    say(stream, "%p %s %zu\n", stream, what, n);
    memcpy(to, from, n);
    return OK;
}
int cuMemcpyHtoDAsync(address to, const void *from, size_t n, void *stream) {
    INSIDE;
    return copy("in", (void *)(uintptr_t)to, from, n, stream);
}
int cuMemcpyDtoHAsync(void *to, address from, size_t n, void *stream) {
    INSIDE;
    return copy("out", to, (void *)(uintptr_t)from, n, stream);
}
int cuMemcpyDtoDAsync(address to, address from, size_t n, void *stream) {
    INSIDE;
    return copy("copy", (void *)(uintptr_t)to, (void *)(uintptr_t)from, n, stream);
}
int cuModuleLoadData(void **out, const void *image) {
    INSIDE;
    if (memcmp(image, "\177ELF", 4)) return 200;
    *out = (void *)0x300;
    return OK;
}
int cuModuleGetFunction(function **out, void *module, const char *name) {
    INSIDE;
    if (module != (void *)0x300) return INVALID_VALUE;
    *out = calloc(1, sizeof **out);
    strncpy((*out)->name, name, sizeof (*out)->name - 1);
    (*out)->n_arguments = n_arguments;
    return OK;
}
int cuFuncSetAttribute(function *f, int attribute, int value) {
    INSIDE;
    say(NULL, "%s attribute %d %d\n", f->name, attribute, value);
    return OK;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, function *f, int threads, size_t shared) {
    INSIDE;
    say(NULL, "%s resident %d %zu\n", f->name, threads, shared);
    *out = 2;
    return OK;
}
static int run(const char *how, function *f, const unsigned *shape, unsigned shared, void *stream,
               void **arguments) {
    say(stream, "%p %s %s", stream, how, f->name);
    for (int i = 0; i < 6; i++) say(stream, " %u", shape[i]);
    say(stream, " %u:", shared);
    for (int i = 0; i < f->n_arguments; i++) say(stream, " %lld", *(long long *)arguments[i]);
    say(stream, "\n");
    return OK;
}
int cuLaunchKernel(function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned shared, void *stream, void **arguments, void **extra) {
    INSIDE;
    const unsigned shape[] = {gx, gy, gz, bx, by, bz};
    return extra ? INVALID_VALUE : run("launch", f, shape, shared, stream, arguments);
}
int cuLaunchCooperativeKernel(function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                              unsigned by, unsigned bz, unsigned shared, void *stream,
                              void **arguments) {
    INSIDE;
    const unsigned shape[] = {gx, gy, gz, bx, by, bz};
    return run("together", f, shape, shared, stream, arguments);
}
int cuStreamBeginCapture(void *stream, int mode) {
    INSIDE;
    if (mode != 2 || captured) return INVALID_VALUE;
    captured = calloc(1, sizeof *captured);
    captured_stream = stream;
    return OK;
}
int cuStreamEndCapture(void *stream, record **out) {
    INSIDE;
    if (!captured || stream != captured_stream) return INVALID_VALUE;
    *out = captured;
    captured = NULL;
    return OK;
}
int cuGraphInstantiateWithFlags(record **out, record *graph, unsigned long long flags) {
    INSIDE;
    if (flags) return INVALID_VALUE;
    *out = malloc(sizeof **out);
    **out = *graph;
    return OK;
}
static int destroy(const char *what, record *graph) {
    say(NULL, "%s destroyed\n", what);
    free(graph);
    return OK;
}
int cuGraphDestroy(record *graph) { INSIDE; return destroy("recorded", graph); }
int cuGraphExecDestroy(record *graph) { INSIDE; return destroy("graph", graph); }
int cuGraphUpload(record *graph, void *stream) { INSIDE; (void)graph, (void)stream; return OK; }
int cuGraphLaunch(record *graph, void *stream) {
    INSIDE;
    say(stream, "%p graph\n%s", stream, graph->text);
    return OK;
}
int cuEventCreate(void **out, unsigned flags) {
    static intptr_t n = 0x400;
    INSIDE;
    if (flags != 2) return INVALID_VALUE;
    *out = (void *)n++;
    return OK;
}
int cuEventRecord(void *event, void *stream) {
    INSIDE;
    say(stream, "%p record %p\n", stream, event);
    return OK;
}
int cuEventQuery(void *event) { INSIDE; (void)event; return pending ? NOT_READY : OK; }
int cuEventSynchronize(void *event) { INSIDE; say(NULL, "wait %p\n", event); return OK; }
int cuEventDestroy(void *event) { INSIDE; say(NULL, "event destroyed %p\n", event); return OK; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    INSIDE;
    say(stream, "%p wait %p %u\n", stream, event, flags);
    return OK;
}
