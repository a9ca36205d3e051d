/*
 * Stands for NVIDIA's management library (libnvidia-ml.so.1): one card, busy to 63 percent, its encoder to 20. The
 * environment's FAKE_NVML_FAILS names a function that refuses, with NVML_ERROR_GPU_IS_LOST.
 *
 * Source: NVML API reference (docs.nvidia.com/deploy/nvml-api).
 */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, GPU_IS_LOST = 15 };
static int card;

static int refuses(const char *name) {
    const char *named = getenv("FAKE_NVML_FAILS");
    return named && !strcmp(named, name);
}

int nvmlInit_v2(void) { return refuses("nvmlInit_v2") ? GPU_IS_LOST : SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index != 0) return INVALID_ARGUMENT;
    *device = &card;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *rates) {
    if (device != &card) return INVALID_ARGUMENT;
    if (refuses("nvmlDeviceGetUtilizationRates")) return GPU_IS_LOST;
    rates[0] = 63;
    rates[1] = 40;
    return SUCCESS;
}

int nvmlDeviceGetEncoderUtilization(void *device, unsigned *share, unsigned *period_us) {
    if (device != &card) return INVALID_ARGUMENT;
    *share = 20;
    *period_us = 167000;
    return SUCCESS;
}
