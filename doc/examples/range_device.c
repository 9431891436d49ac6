// range_device.c - memory of a device, cut into pieces by its host.
//
// The device's memory cannot be read here, and need not be: a range manages numbers.
#include <allot.h>
#include <inttypes.h>
#include <stdio.h>

#define MIB ((uint64_t)1 << 20)

int main(void) {
    allot_range *device = allot_range_create(&(struct allot_range_options){
        .struct_size = sizeof(struct allot_range_options),
        .size = 256 * MIB,
        .granularity = 256,  // the device wants buffers at multiples of this
    });
    if (device == NULL) {
        return 1;
    }
    uint64_t vertices = allot_range_alloc(device, 3 * MIB + 100, 1);
    uint64_t texture = allot_range_alloc(device, 16 * MIB, 64 * 1024);
    uint64_t uniforms = allot_range_alloc(device, 200, 1);
    printf("vertices %" PRIu64 ", texture %" PRIu64 ", uniforms %" PRIu64 "\n", vertices, texture,
           uniforms);

    // Three quarters of the texture's levels are not needed any more: the tail comes back.
    if (allot_range_free(device, texture + 4 * MIB, 12 * MIB) != 0) {
        return 1;
    }
    uint64_t target = allot_range_alloc(device, 12 * MIB, 64 * 1024);
    printf("target %" PRIu64 ", in the place of the tail\n", target);

    // Everything, in one call: a free may span allocations, but not what is free.
    bool is_refused = allot_range_free(device, 0, 256 * MIB) != 0;
    printf("%s, %" PRIu64 " free ranges, the largest of %" PRIu64 " bytes\n",
           is_refused ? "refused" : "freed", allot_range_count(device),
           allot_range_largest(device));
    allot_range_destroy(device);
    return target == texture + 4 * MIB && is_refused ? 0 : 1;
}
