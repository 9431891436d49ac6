# cases.cmake - one ctest entry for each named case of a program or a Python driver.

# A test program in C (or C++), with case.h at hand.
function(case_program target)
  add_executable(${target} ${ARGN})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests/life
                             ${PROJECT_SOURCE_DIR}/include)
  target_compile_options(${target} PRIVATE -O2 -g -Wall -Wextra -fno-builtin-malloc
                         -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free)
  set_target_properties(${target} PROPERTIES C_STANDARD 11 C_EXTENSIONS ON CXX_STANDARD 17)
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# A shared library that tests load or preload.
function(case_library target)
  add_library(${target} SHARED ${ARGN})
  target_compile_options(${target} PRIVATE -O2 -Wall -Wextra -fno-builtin-malloc)
  target_link_libraries(${target} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

# case_add(NAME name COMMAND ... LABEL label [ENVIRONMENT ...] [SERIAL])
function(case_add)
  cmake_parse_arguments(PARSE_ARGV 0 one "SERIAL" "NAME;LABEL" "COMMAND;ENVIRONMENT")
  add_test(NAME ${one_NAME} COMMAND ${one_COMMAND})
  set_tests_properties(${one_NAME} PROPERTIES
    LABELS ${one_LABEL}
    SKIP_RETURN_CODE 77
    TIMEOUT ${life_seconds}
    ENVIRONMENT "${one_ENVIRONMENT}"
    FAIL_REGULAR_EXPRESSION "allot: (error|warning)")
  if(one_SERIAL)
    set_tests_properties(${one_NAME} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()

# case_tests(program source PREFIX prefix [ENVIRONMENT ...] [SERIAL]): every CASE of the source.
function(case_tests program source)
  cmake_parse_arguments(PARSE_ARGV 2 of "SERIAL" "PREFIX;LABEL" "ENVIRONMENT")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(STRINGS ${source} lines REGEX "^CASE\\(")
  if(NOT of_LABEL)
    set(of_LABEL life)
  endif()
  set(serial "")
  if(of_SERIAL)
    set(serial SERIAL)
  endif()
  foreach(line ${lines})
    string(REGEX REPLACE "^CASE\\(([a-zA-Z0-9_]+)\\).*" "\\1" name "${line}")
    case_add(NAME ${of_PREFIX}.${name} COMMAND ${program} ${name} LABEL ${of_LABEL}
             ENVIRONMENT ${of_ENVIRONMENT} ${serial})
  endforeach()
endfunction()

# case_driver(driver.py PREFIX prefix LABEL label ARGUMENTS ...): every `def case_...` of a driver.
function(case_driver driver)
  cmake_parse_arguments(PARSE_ARGV 1 of "SERIAL" "PREFIX;LABEL" "ARGUMENTS;ENVIRONMENT")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${driver})
  file(STRINGS ${driver} lines REGEX "^def case_")
  set(serial "")
  if(of_SERIAL)
    set(serial SERIAL)
  endif()
  foreach(line ${lines})
    string(REGEX REPLACE "^def case_([a-zA-Z0-9_]+).*" "\\1" name "${line}")
    case_add(NAME ${of_PREFIX}.${name}
             COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/${driver} ${of_ARGUMENTS}
                     ${name}
             LABEL ${of_LABEL} ENVIRONMENT ${of_ENVIRONMENT} ${serial})
  endforeach()
endfunction()
