# How allot's own C is compiled: allot_compile_flags(target).
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

if(ALLOT_SANITIZE AND ALLOT_CONFIG_FACE)
  message(FATAL_ERROR "ALLOT_SANITIZE needs ALLOT_CONFIG_FACE=0: the sanitizer owns malloc")
endif()
if(NOT ALLOT_SANITIZE MATCHES "^(|address|thread)$")
  message(FATAL_ERROR "ALLOT_SANITIZE is '${ALLOT_SANITIZE}', neither address nor thread")
endif()

if(PROJECT_IS_TOP_LEVEL)
  if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
  endif()
  # Without NDEBUG: a test that uses assert() must be able to fail in every build.
  set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g")
  # Frames, as calls are not tail calls there: guard mode follows them.
  set(CMAKE_C_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g -fno-omit-frame-pointer")
endif()

set(ALLOT_WARNINGS -Wall -Wextra -Wundef -Wshadow -Wvla -Wpointer-arith -Wwrite-strings
    $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
    $<$<COMPILE_LANGUAGE:C>:-Wold-style-definition>)
if(ALLOT_WERROR)
  list(APPEND ALLOT_WARNINGS -Werror)
endif()

set(ALLOT_CODEGEN -fPIC -fvisibility=hidden -ftls-model=initial-exec -fno-plt
    # The first call may come before the canary is set up; there are no arrays on hot stacks.
    -fno-stack-protector
    # So that cmake/allot.ld can put them in order.
    -ffunction-sections)
foreach(name malloc calloc realloc free aligned_alloc posix_memalign)
  # A malloc followed by memset must not become a call of our own calloc, nor a pair vanish.
  list(APPEND ALLOT_CODEGEN -fno-builtin-${name})
endforeach()
foreach(flag -fno-semantic-interposition -fcf-protection=none)
  string(MAKE_C_IDENTIFIER "ALLOT_HAS${flag}" has)
  check_c_compiler_flag(${flag} ${has})
  if(${has})
    list(APPEND ALLOT_CODEGEN ${flag})
  endif()
endforeach()

# Not every linker can add to its own script.
set(ALLOT_ORDER ${PROJECT_SOURCE_DIR}/cmake/allot.ld)
check_linker_flag(C -Wl,-T,${ALLOT_ORDER} ALLOT_HAS_ORDER)

set(ALLOT_SANITIZE_FLAGS "")
if(ALLOT_SANITIZE STREQUAL "address")
  set(ALLOT_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=all
      -fno-omit-frame-pointer)
elseif(ALLOT_SANITIZE STREQUAL "thread")
  set(ALLOT_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer)
endif()
# Everything of a sanitized build is instrumented, tests included.
add_compile_options(${ALLOT_SANITIZE_FLAGS})
add_link_options(${ALLOT_SANITIZE_FLAGS})

set(ALLOT_CONFIG ALLOT_CONFIG_TINY=${ALLOT_CONFIG_TINY}
    ALLOT_CONFIG_VALIDATE=${ALLOT_CONFIG_VALIDATE})

# The target says itself what ALLOT_CONFIG_FACE is.
function(allot_compile_flags target)
  set_target_properties(${target} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS ON)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE ${ALLOT_WARNINGS} ${ALLOT_CODEGEN})
  target_compile_definitions(${target} PRIVATE ${ALLOT_CONFIG} _GNU_SOURCE)
endfunction()
