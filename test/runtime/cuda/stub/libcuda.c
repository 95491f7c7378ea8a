/*
 * A stand-in for libcuda: device memory is host memory, copies and fills happen, launches and captures are recorded,
 * and the next call of any function can be told to fail. One process, one driver; `stub_reset` forgets everything.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int32_t R;
typedef uint64_t H;

#define API __attribute__((visibility("default")))
#define MAX_LAUNCHES 256
#define MAX_NODES 2048
#define MAX_CALLS 4096

struct launch { uint8_t config[56]; H function; uint8_t args[512]; uint64_t bytes; uint8_t attribute[72]; };
struct graph { int count; struct launch nodes[MAX_NODES]; };

static struct launch launches[MAX_LAUNCHES];
static int launch_count;
static char calls[MAX_CALLS][32];
static int call_count;
static char fail_name[64];
static int fail_result, fail_after;
static char jit_log[1024];
static int sticky;              /* what every wait and launch answers once a kernel has faulted */
static int fault_pending;       /* becomes sticky at the next wait */
static int64_t busy_until_us;   /* streams and events are done from then on */
static struct graph *capturing;
static H capturing_stream;
static H next_handle;
static int live;                /* allocations, streams, events, modules, graphs and contexts not given back */
static int opt_in;
static int devices = 1, capability = 90;
static int threads_per_block = 1024;
static __thread H current;       /* a context is current on one thread alone */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int compile_ms, compile_needs_context, compiling, most_compiling;

static int64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000ll + t.tv_nsec / 1000;
}

/* Notes the call; a result other than zero is what the call must answer. */
static R enter(const char *name) {
  R result = 0;
  pthread_mutex_lock(&lock);
  if (call_count < MAX_CALLS) snprintf(calls[call_count++], sizeof calls[0], "%s", name);
  if (fail_result && strcmp(name, fail_name) == 0 && fail_after-- == 0) {
    result = fail_result;
    fail_result = 0;
  }
  pthread_mutex_unlock(&lock);
  return result;
}
#define ENTER do { R failed = enter(__func__); if (failed) return failed; } while (0)
#define NEEDS_CONTEXT do { if (!current) return 201; if (sticky) return sticky; } while (0)

/* ---- what tests ask and tell ---- */
API void stub_reset(void) {
  launch_count = call_count = fail_result = sticky = fault_pending = live = opt_in = 0;
  busy_until_us = 0; capturing = NULL; jit_log[0] = 0; devices = 1; capability = 90; threads_per_block = 1024;
  compile_ms = compile_needs_context = most_compiling = 0;
}
API void stub_fail(const char *name, int result, int after) {
  snprintf(fail_name, sizeof fail_name, "%s", name);
  fail_result = result;
  fail_after = after;
}
API void stub_jit_log(const char *log) { snprintf(jit_log, sizeof jit_log, "%s", log); }
API void stub_compile(int ms, int needs_context) { compile_ms = ms; compile_needs_context = needs_context; }
API int stub_most_compiling(void) { return most_compiling; }
API void stub_fault(int result) { fault_pending = result; }
API void stub_busy(int ms) { busy_until_us = now_us() + ms * 1000ll; }
API void stub_devices(int count, int cc) { devices = count; capability = cc; }
API void stub_threads(int most) { threads_per_block = most; }
API int stub_launches(void) { return launch_count; }
API int stub_live(void) { return live; }
API int stub_opt_in(void) { return opt_in; }
API int stub_launch(int i, void *config, void *args, void *attribute, void *info) {
  memcpy(config, launches[i].config, 56);
  memcpy(attribute, launches[i].attribute, 72);
  memcpy(args, launches[i].args, launches[i].bytes);
  ((uint64_t *)info)[0] = launches[i].function;
  ((uint64_t *)info)[1] = launches[i].bytes;
  return 0;
}
API int stub_called(const char *name) {
  int n = 0;
  for (int i = 0; i < call_count; i++) n += strcmp(calls[i], name) == 0;
  return n;
}

/* ---- the driver ---- */
static const struct { R result; const char *name, *text; } errors[] = {
  {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
  {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
  {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
  {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
  {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
  {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
  {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
  {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
  {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
  {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
};
API R cuGetErrorName(R result, const char **out) {
  for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].result == result) { *out = errors[i].name; return 0; }
  *out = NULL;
  return 1;
}
API R cuGetErrorString(R result, const char **out) {
  for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++)
    if (errors[i].result == result) { *out = errors[i].text; return 0; }
  *out = NULL;
  return 1;
}
API R cuInit(uint32_t flags) { (void)flags; ENTER; return 0; }
API R cuDriverGetVersion(int *out) { ENTER; *out = 13010; return 0; }
API R cuDeviceGetCount(int *out) { ENTER; *out = devices; return 0; }
API R cuDeviceGet(int *out, int ordinal) { ENTER; *out = ordinal; return 0; }
API R cuDeviceGetName(char *out, int bytes, int device) { ENTER; snprintf(out, bytes, "Stub GPU %d", device); return 0; }
API R cuDeviceTotalMem_v2(uint64_t *out, int device) { (void)device; ENTER; *out = 5ull << 30; return 0; }
API R cuDeviceGetAttribute(int *out, int which, int device) {
  (void)device;
  ENTER;
  switch (which) {
    case 16: *out = 132; return 0;
    case 38: *out = 62914560; return 0;
    case 75: *out = capability / 10; return 0;
    case 76: *out = capability % 10; return 0;
    case 97: *out = 232448; return 0;
  }
  return 1;
}
API R cuDevicePrimaryCtxRetain(H *out, int device) { ENTER; *out = 0x7f0000000000ull + device; live++; return 0; }
API R cuDevicePrimaryCtxRelease_v2(int device) { (void)device; ENTER; live--; return 0; }
API R cuCtxSetCurrent(H context) { ENTER; current = context; return 0; }
API R cuMemGetInfo_v2(uint64_t *free_, uint64_t *total) { ENTER; *free_ = 3ull << 30; *total = 5ull << 30; return 0; }

API R cuMemAlloc_v2(H *out, uint64_t bytes) {
  ENTER; NEEDS_CONTEXT;
  if (bytes > 3ull << 30) return 2;
  void *p = NULL;
  if (posix_memalign(&p, 512, bytes)) return 2;
  *out = (H)p;
  live++;
  return 0;
}
API R cuMemFree_v2(H address) { ENTER; free((void *)address); live--; return 0; }
API R cuMemHostAlloc(H *out, uint64_t bytes, uint32_t flags) {
  (void)flags;
  ENTER; NEEDS_CONTEXT;
  *out = (H)calloc(1, bytes);
  live++;
  return 0;
}
API R cuMemFreeHost(H address) { ENTER; free((void *)address); live--; return 0; }
API R cuMemcpyHtoDAsync_v2(H dst, const void *src, uint64_t bytes, H stream) {
  (void)stream; ENTER; NEEDS_CONTEXT; memcpy((void *)dst, src, bytes); return 0;
}
API R cuMemcpyDtoHAsync_v2(void *dst, H src, uint64_t bytes, H stream) {
  (void)stream; ENTER; NEEDS_CONTEXT; memcpy(dst, (void *)src, bytes); return 0;
}
API R cuMemcpyDtoDAsync_v2(H dst, H src, uint64_t bytes, H stream) {
  (void)stream; ENTER; NEEDS_CONTEXT; memmove((void *)dst, (void *)src, bytes); return 0;
}
API R cuMemsetD8Async(H dst, uint8_t byte, uint64_t bytes, H stream) {
  (void)stream; ENTER; NEEDS_CONTEXT; memset((void *)dst, byte, bytes); return 0;
}

/* Fills the logs as the driver's compiler does. */
static void write_logs(const char *ptx, int failed, uint32_t count, const int *keys, void **values) {
  for (uint32_t i = 0; i < count; i++) {
    uint64_t size = 0;
    for (uint32_t j = 0; j < count; j++) if (keys[j] == keys[i] + 1) size = (uint64_t)values[j];
    if (keys[i] == 5) snprintf(values[i], size, "%s", failed ? jit_log : "");
    if (keys[i] == 3)
      snprintf(values[i], size, "ptxas info    : Used 10 registers, %zu bytes of text%s%s", strlen(ptx),
               failed ? "" : "\n", failed ? "" : jit_log);
  }
}

/* A cubin of this driver: a mark, the length of the whole, and the length of its PTX. */
struct cubin { char mark[8]; uint64_t bytes, text; };
static const char mark[8] = "\x7fSTUB";

struct link { uint32_t count; const int *keys; void **values; struct cubin cubin; };
API R cuLinkCreate_v2(uint32_t count, const int *keys, void **values, H *out) {
  ENTER; NEEDS_CONTEXT;
  struct link *l = calloc(1, sizeof *l);
  *l = (struct link){count, keys, values, {{0}, 0, 0}};
  *out = (H)l;
  live++;
  return 0;
}
API R cuLinkAddData_v2(H state, int type, const char *ptx, uint64_t bytes, const char *name, uint32_t count, const int *keys, void **values) {
  (void)name; (void)keys; (void)values;
  R failed = enter(__func__);
  struct link *l = (struct link *)state;
  if (compile_needs_context && !current) return 201;
  if (!failed && strstr(ptx, "bogus")) failed = 218;
  if (type != 1 || count || strlen(ptx) + 1 != bytes) return 1;
  pthread_mutex_lock(&lock);
  if (++compiling > most_compiling) most_compiling = compiling;
  pthread_mutex_unlock(&lock);
  usleep(compile_ms * 1000);
  write_logs(ptx, failed, l->count, l->keys, l->values);
  memcpy(l->cubin.mark, mark, 8);
  l->cubin.bytes = sizeof l->cubin;
  l->cubin.text = bytes;
  pthread_mutex_lock(&lock);
  compiling--;
  pthread_mutex_unlock(&lock);
  return failed;
}
API R cuLinkComplete(H state, void **image, uint64_t *bytes) {
  ENTER;
  struct link *l = (struct link *)state;
  if (compile_needs_context && !current) return 201;
  *image = &l->cubin;
  *bytes = l->cubin.bytes;
  return 0;
}
API R cuLinkDestroy(H state) { ENTER; free((void *)state); live--; return 0; }

API R cuModuleLoadDataEx(H *out, const char *image, uint32_t count, const int *keys, void **values) {
  R failed = enter(__func__);
  int compiled = memcmp(image, "\x7f", 1) == 0;
  if (!failed && !compiled && strstr(image, "bogus")) failed = 218;
  if (!compiled) write_logs(image, failed, count, keys, values);
  if (failed) return failed;
  NEEDS_CONTEXT;
  if (compiled && (memcmp(image, mark, 8) || ((struct cubin *)image)->bytes != sizeof(struct cubin))) return 200;
  *out = ++next_handle + 0x1000;
  live++;
  return 0;
}
API R cuModuleUnload(H module) { (void)module; ENTER; live--; return 0; }
API R cuModuleGetFunction(H *out, H module, const char *name) { (void)name; ENTER; *out = module + 0x100000; return 0; }
API R cuFuncGetAttribute(int *out, int which, H function) {
  (void)function;
  ENTER;
  *out = which == 0 ? threads_per_block : which == 4 ? 10 : which == 3 ? 24 : which == 1 ? 64 : 0;
  return 0;
}
API R cuFuncSetAttribute(H function, int which, int value) { (void)function; ENTER; if (which == 8) opt_in = value; return 0; }

/* What was asked for, in place of the format that only the driver knows. */
struct tensor_map {
  uint32_t type, rank, interleave, swizzle, promotion, fill, box[3], steps[3];
  uint64_t address, extents[3], strides[2];
};
API R cuTensorMapEncodeTiled(H out, int type, uint32_t rank, H address, const uint64_t *extents, const uint64_t *strides,
                             const uint32_t *box, const uint32_t *steps, int interleave, int swizzle, int promotion, int fill) {
  ENTER; NEEDS_CONTEXT;
  if (out % 64 || address % 16 || rank < 2 || rank > 3) return 1;
  struct tensor_map map = {type, rank, interleave, swizzle, promotion, fill, {0}, {0}, address, {0}, {0}};
  memcpy(map.box, box, 4 * rank);
  memcpy(map.steps, steps, 4 * rank);
  memcpy(map.extents, extents, 8 * rank);
  memcpy(map.strides, strides, 8 * (rank - 1));
  memset((void *)out, 0, 128);
  memcpy((void *)out, &map, sizeof map);
  return 0;
}

static void keep(struct launch *l) { if (launch_count < MAX_LAUNCHES) launches[launch_count++] = *l; }

API R cuLaunchKernelEx(const void *config, H function, void **params, void **extra) {
  ENTER; NEEDS_CONTEXT;
  if (!params || extra) return 1;
  struct launch l = {0};
  memcpy(l.config, config, 56);
  l.function = function;
  /* Where the parameters lie is the caller's business; ours are one block, and the pointers to them stand behind it. */
  l.bytes = (char *)params - (char *)params[0];
  memcpy(l.args, params[0], l.bytes);
  uint32_t attributes;
  memcpy(&attributes, l.config + 48, 4);
  if (attributes > 1) return 1;
  if (attributes == 1) memcpy(l.attribute, *(void **)(l.config + 40), 72);
  H stream;
  memcpy(&stream, l.config + 32, 8);
  if (capturing && stream == capturing_stream) capturing->nodes[capturing->count++] = l;
  else keep(&l);
  return 0;
}

API R cuStreamCreate(H *out, uint32_t flags) { ENTER; NEEDS_CONTEXT; if (flags != 1) return 1; *out = ++next_handle + 0x5000; live++; return 0; }
API R cuStreamDestroy_v2(H stream) { (void)stream; ENTER; live--; return 0; }
static R done(void) {
  if (now_us() < busy_until_us) return 600;
  if (fault_pending) { sticky = fault_pending; fault_pending = 0; }
  return sticky;
}
static R wait_done(void) {
  int64_t left = busy_until_us - now_us();
  if (left > 0) usleep(left);
  return done();
}
API R cuStreamQuery(H stream) { (void)stream; ENTER; return done(); }
API R cuStreamSynchronize(H stream) { (void)stream; ENTER; return wait_done(); }
API R cuStreamWaitEvent(H stream, H event, uint32_t flags) { (void)stream; (void)event; (void)flags; ENTER; return 0; }
API R cuStreamBeginCapture_v2(H stream, int mode) {
  (void)mode;
  ENTER; NEEDS_CONTEXT;
  capturing = calloc(1, sizeof *capturing);
  capturing_stream = stream;
  return 0;
}
API R cuStreamEndCapture(H stream, H *out) {
  ENTER;
  if (stream != capturing_stream) return 1;
  *out = (H)capturing;
  capturing = NULL;
  live++;
  return 0;
}
API R cuEventCreate(H *out, uint32_t flags) { (void)flags; ENTER; NEEDS_CONTEXT; *out = ++next_handle + 0x9000; live++; return 0; }
API R cuEventDestroy_v2(H event) { (void)event; ENTER; live--; return 0; }
API R cuEventRecord(H event, H stream) { (void)event; (void)stream; ENTER; return sticky; }
API R cuEventQuery(H event) { (void)event; ENTER; return done(); }
API R cuEventSynchronize(H event) { (void)event; ENTER; return wait_done(); }
API R cuEventElapsedTime(float *out, H start, H end) { ENTER; *out = (float)(end - start) * 0.5f; return 0; }

API R cuGraphInstantiateWithFlags(H *out, H graph, uint64_t flags) {
  (void)flags;
  ENTER;
  struct graph *copy = malloc(sizeof *copy);
  *copy = *(struct graph *)graph;
  *out = (H)copy;
  live++;
  return 0;
}
API R cuGraphLaunch(H graph, H stream) {
  ENTER; NEEDS_CONTEXT;
  struct graph *g = (struct graph *)graph;
  for (int i = 0; i < g->count; i++) {
    memcpy(g->nodes[i].config + 32, &stream, 8);
    keep(&g->nodes[i]);
  }
  return 0;
}
API R cuGraphDestroy(H graph) { ENTER; free((void *)graph); live--; return 0; }
API R cuGraphExecDestroy(H graph) { ENTER; free((void *)graph); live--; return 0; }
