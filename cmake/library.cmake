# The library in its three forms, from one set of objects.
find_package(Threads REQUIRED)
find_program(ALLOT_OBJCOPY NAMES ${CMAKE_OBJCOPY} objcopy REQUIRED)

file(GLOB ALLOT_MODULE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*/*.c)
if(ALLOT_ONE_FILE)
  set(ALLOT_SOURCES ${PROJECT_SOURCE_DIR}/src/allot.c)
else()
  set(ALLOT_SOURCES ${ALLOT_MODULE_SOURCES})
endif()

add_library(allot_objects OBJECT ${ALLOT_SOURCES})
allot_compile_flags(allot_objects)
target_compile_definitions(allot_objects PRIVATE ALLOT_CONFIG_FACE=${ALLOT_CONFIG_FACE})
target_include_directories(allot_objects PUBLIC ${PROJECT_SOURCE_DIR}/include)

set(allot_outputs ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
    LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
set(allot_usage $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# liballot.so.1. -z nodelete: threads keep blocks and exit handlers of ours, so that dlclose cannot
# take the code away. -z initfirst: the fork handler of ours comes before those of other libraries,
# which may allocate. Only allot_* carry a version; a versioned malloc would replace nothing.
if(NOT ALLOT_SANITIZE)
  add_library(allot SHARED $<TARGET_OBJECTS:allot_objects>)
  set_target_properties(allot PROPERTIES ${allot_outputs} VERSION ${PROJECT_VERSION}
                        SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME allot LINKER_LANGUAGE C
                        LINK_DEPENDS "${PROJECT_SOURCE_DIR}/cmake/allot.map;${ALLOT_ORDER}")
  target_link_options(allot PRIVATE -Wl,-z,now -Wl,-z,relro -Wl,-z,defs -Wl,-z,nodelete
                      -Wl,-z,initfirst -Wl,--as-needed
                      -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/allot.map)
  if(ALLOT_HAS_ORDER)
    target_link_options(allot PRIVATE -Wl,-T,${ALLOT_ORDER})
  endif()
  target_include_directories(allot INTERFACE ${allot_usage})
  add_library(allot::allot ALIAS allot)
endif()

# liballot.o: one relocatable object whose hidden symbols are made local, so that no name of ours
# can meet a name of the program. A sanitizer needs its symbols, so its build keeps the objects.
if(ALLOT_SANITIZE)
  add_library(allot_static STATIC $<TARGET_OBJECTS:allot_objects>)
else()
  set(ALLOT_OBJECT_FILE ${PROJECT_BINARY_DIR}/liballot.o)
  add_custom_command(
    OUTPUT ${ALLOT_OBJECT_FILE}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${ALLOT_OBJECT_FILE} $<TARGET_OBJECTS:allot_objects>
    COMMAND ${ALLOT_OBJCOPY} --localize-hidden ${ALLOT_OBJECT_FILE}
    DEPENDS allot_objects $<TARGET_OBJECTS:allot_objects>
    COMMAND_EXPAND_LISTS VERBATIM COMMENT "Linking liballot.o")
  add_custom_target(allot_object_file ALL DEPENDS ${ALLOT_OBJECT_FILE})
  set_source_files_properties(${ALLOT_OBJECT_FILE} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(allot_static STATIC ${ALLOT_OBJECT_FILE})
  add_dependencies(allot_static allot_object_file)

  add_library(allot_object INTERFACE)
  add_dependencies(allot_object allot_object_file)
  target_include_directories(allot_object INTERFACE ${allot_usage})
  target_link_libraries(allot_object INTERFACE $<BUILD_INTERFACE:${ALLOT_OBJECT_FILE}>
                        Threads::Threads)
  add_library(allot::object ALIAS allot_object)
endif()
set_target_properties(allot_static PROPERTIES ${allot_outputs} OUTPUT_NAME allot EXPORT_NAME static
                      LINKER_LANGUAGE C)
target_include_directories(allot_static INTERFACE ${allot_usage})
target_link_libraries(allot_static INTERFACE Threads::Threads)
add_library(allot::static ALIAS allot_static)
