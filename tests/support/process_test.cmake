# Test programs that see the library from outside: include(../support/process_test.cmake).
#
#   allot_process_program(TARGET SOURCE...)     a program linked as users link it: with the shared
#                                               library, or in builds without malloc's names with
#                                               the static one and USE_ALLOT_API
#   allot_process_test(LABEL NAME COMMAND...)   one entry of ctest; exit status 77 means skipped
include_guard(GLOBAL)

function(allot_process_program target)
  add_executable(${target} ${ARGN})
  set_target_properties(${target} PROPERTIES C_STANDARD 11 C_EXTENSIONS ON CXX_STANDARD 17)
  target_compile_definitions(${target} PRIVATE $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
  # Nothing may be folded away, and using blocks wrongly is what tests do.
  target_compile_options(${target} PRIVATE ${ALLOT_WARNINGS} -fno-builtin)
  # A struct and a function of allot.h share a name, which C++ takes for shadowing.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wno-shadow>)
  if(CMAKE_C_COMPILER_ID STREQUAL GNU)
    target_compile_options(${target} PRIVATE -Wno-use-after-free -Wno-free-nonheap-object)
  endif()
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/include)
  if(ALLOT_CONFIG_FACE)
    target_link_libraries(${target} PRIVATE allot Threads::Threads)
  else()
    target_compile_definitions(${target} PRIVATE USE_ALLOT_API)
    target_link_libraries(${target} PRIVATE allot_static Threads::Threads)
  endif()
endfunction()

function(allot_process_test label name)
  add_test(NAME ${label}.${name} COMMAND ${ARGN})
  set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} SKIP_RETURN_CODE 77 TIMEOUT 240)
endfunction()
