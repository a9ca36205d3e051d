/*
 * Stands for NVIDIA's driver (libcuda.so.1) under FFmpeg's own CUDA code: a card whose memory the CPU cannot
 * read by its addresses, and which counts what is copied into it and out of it.
 *
 * Source: the CUDA driver API's reference (docs.nvidia.com/cuda/cuda-driver-api), CUDA_MEMCPY2D among it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t Address;
#define CARD (1ull << 62) /* no address of user space has this bit: who takes one for the CPU's memory crashes */
#define SUCCESS 0
#define INVALID 1
#define NO_MEMORY 2
#define NOT_SUPPORTED 801
enum { HOST = 1, DEVICE = 2 };

typedef struct {
    size_t source_x, source_y;
    int source_kind;
    const void *source_host;
    Address source_device;
    void *source_array;
    size_t source_pitch;
    size_t into_x, into_y;
    int into_kind;
    void *into_host;
    Address into_device;
    void *into_array;
    size_t into_pitch;
    size_t width, height;
} Copy;

static long counts[3]; /* pieces of the card's memory alive, copies into it, copies out of it */
static int context;

long fake_count(int which) { return counts[which]; }

int cuInit(unsigned flags) { return SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = 12000, SUCCESS; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *device, int number) { return *device = 0, number ? INVALID : SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = 512, SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) { return strncpy(name, "stand-in", size), SUCCESS; }
int cuDeviceComputeCapability(int *major, int *minor, int device) { return *major = 8, *minor = 0, SUCCESS; }
int cuCtxCreate_v2(void **made, unsigned flags, int device) { return *made = &context, SUCCESS; }
int cuCtxGetCurrent(void **current) { return *current = &context, SUCCESS; }
int cuCtxPushCurrent_v2(void *pushed) { return pushed == &context ? SUCCESS : INVALID; }
int cuCtxPopCurrent_v2(void **popped) { return popped ? (*popped = &context, SUCCESS) : SUCCESS; }
int cuCtxDestroy_v2(void *destroyed) { return destroyed == &context ? SUCCESS : INVALID; }
int cuStreamSynchronize(void *stream) { return SUCCESS; }
int cuGetErrorName(int error, const char **name) { return *name = "ERROR", SUCCESS; }
int cuGetErrorString(int error, const char **words) { return *words = "the stand-in does not do it", SUCCESS; }

int cuMemAlloc_v2(Address *made, size_t size)
{
    void *memory = malloc(size);
    *made = (Address)(uintptr_t)memory | CARD;
    __atomic_add_fetch(&counts[0], 1, __ATOMIC_SEQ_CST);
    return memory ? SUCCESS : NO_MEMORY;
}

int cuMemFree_v2(Address freed)
{
    __atomic_sub_fetch(&counts[0], 1, __ATOMIC_SEQ_CST);
    free((void *)(uintptr_t)(freed & ~CARD));
    return SUCCESS;
}

int cuMemcpy2DAsync_v2(const Copy *copy, void *stream)
{
    int down = copy->source_kind == DEVICE && copy->into_kind == HOST;
    int up = copy->source_kind == HOST && copy->into_kind == DEVICE;
    if (!down && !up)
        return NOT_SUPPORTED;
    const char *source = down ? (const char *)(uintptr_t)(copy->source_device & ~CARD) : copy->source_host;
    char *into = up ? (char *)(uintptr_t)(copy->into_device & ~CARD) : copy->into_host;
    source += copy->source_y * copy->source_pitch + copy->source_x;
    into += copy->into_y * copy->into_pitch + copy->into_x;
    for (size_t row = 0; row < copy->height; row++)
        memcpy(into + row * copy->into_pitch, source + row * copy->source_pitch, copy->width);
    __atomic_add_fetch(&counts[down ? 2 : 1], 1, __ATOMIC_SEQ_CST);
    return SUCCESS;
}

/* FFmpeg looks all of these up, and calls none of them for what is tried here. */
#define ABSENT(name) \
    int name(void) { return NOT_SUPPORTED; }
ABSENT(cuCtxSetLimit) ABSENT(cuMemAllocPitch_v2) ABSENT(cuMemAllocManaged) ABSENT(cuMemsetD8Async) ABSENT(cuMemcpy)
ABSENT(cuMemcpyAsync) ABSENT(cuMemcpy2D_v2) ABSENT(cuMemcpyHtoD_v2) ABSENT(cuMemcpyHtoDAsync_v2)
ABSENT(cuMemcpyDtoH_v2) ABSENT(cuMemcpyDtoHAsync_v2) ABSENT(cuMemcpyDtoD_v2) ABSENT(cuMemcpyDtoDAsync_v2)
ABSENT(cuCtxGetDevice) ABSENT(cuDevicePrimaryCtxRetain) ABSENT(cuDevicePrimaryCtxRelease)
ABSENT(cuDevicePrimaryCtxSetFlags) ABSENT(cuDevicePrimaryCtxGetState) ABSENT(cuDevicePrimaryCtxReset)
ABSENT(cuStreamCreate) ABSENT(cuStreamQuery) ABSENT(cuStreamDestroy_v2) ABSENT(cuStreamAddCallback)
ABSENT(cuStreamWaitEvent) ABSENT(cuEventCreate) ABSENT(cuEventDestroy_v2) ABSENT(cuEventSynchronize)
ABSENT(cuEventQuery) ABSENT(cuEventRecord) ABSENT(cuLaunchKernel) ABSENT(cuLinkCreate) ABSENT(cuLinkAddData)
ABSENT(cuLinkComplete) ABSENT(cuLinkDestroy) ABSENT(cuModuleLoadData) ABSENT(cuModuleUnload)
ABSENT(cuModuleGetFunction) ABSENT(cuModuleGetGlobal) ABSENT(cuTexObjectCreate) ABSENT(cuTexObjectDestroy)
ABSENT(cuGLGetDevices_v2) ABSENT(cuGraphicsGLRegisterImage) ABSENT(cuGraphicsUnregisterResource)
ABSENT(cuGraphicsMapResources) ABSENT(cuGraphicsUnmapResources) ABSENT(cuGraphicsSubResourceGetMappedArray)
ABSENT(cuGraphicsResourceGetMappedPointer_v2) ABSENT(cuArrayCreate_v2) ABSENT(cuArray3DCreate_v2)
ABSENT(cuArrayDestroy)
