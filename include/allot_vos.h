// allot_vos.h - the names of VOS programs: each allocation says its module, file and line.
//
// A module is a tag, from VOS_Module or allot_tag_create. What each module and each line of it
// holds is exact at any time: allot_tag_print, allot_site_snapshot, allot_leaks.
#ifndef ALLOT_VOS_H
#define ALLOT_VOS_H

#include "allot.h"

/// A module. It exists as long as the process.
///
///   name   as for allot_tag_create
///
/// Returns as allot_tag_create does. Threads: any.
#define VOS_Module(name) allot_tag_create((name), 0)

/// Allocate for a module: ALLOT_MALLOC with its arguments in this order. Returns NULL if there
/// is no memory. Threads: any.
#define VOS_Malloc(size_bytes, module) ALLOT_MALLOC((module), (size_bytes))

/// The same, all bits zero.
#define VOS_Calloc(count, size_bytes, module) ALLOT_CALLOC((module), (count), (size_bytes))

/// Resize a block, of the module afterwards.
#define VOS_Realloc(ptr, size_bytes, module) ALLOT_REALLOC((module), (ptr), (size_bytes))

/// Free a block of any module. Threads: any.
#define VOS_Free(ptr) allot_tag_free(ptr)

#endif
