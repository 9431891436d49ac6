# make install, find_package(allot), pkg-config and cpack.
include(CMakePackageConfigHelpers)

set(allot_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/allot)

install(TARGETS allot EXPORT allot_targets)
install(TARGETS allot_static EXPORT allot_targets)
install(FILES ${ALLOT_OBJECT_FILE} DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/allot.h include/allot.hpp include/allot_lua.h include/allot_vos.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET allot_tool)
  install(FILES doc/man/allot.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()
install(FILES doc/man/allot.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT allot_targets NAMESPACE allot:: DESTINATION ${allot_package_dir})
configure_package_config_file(packaging/allot-config.cmake.in
                              ${PROJECT_BINARY_DIR}/allot-config.cmake
                              INSTALL_DESTINATION ${allot_package_dir}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/allot-config-version.cmake
                                 COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/allot-config.cmake
        ${PROJECT_BINARY_DIR}/allot-config-version.cmake
        DESTINATION ${allot_package_dir})

# The .pc file finds the prefix from its own place, so that the installed tree may be moved.
cmake_path(RELATIVE_PATH CMAKE_INSTALL_FULL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX}
           OUTPUT_VARIABLE allot_pc_libdir)
cmake_path(RELATIVE_PATH CMAKE_INSTALL_PREFIX
           BASE_DIRECTORY ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig OUTPUT_VARIABLE allot_pc_prefix)
configure_file(packaging/allot.pc.in ${PROJECT_BINARY_DIR}/allot.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/allot.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
       )

if(PROJECT_IS_TOP_LEVEL)
  set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # the tests are not installed
  set(CPACK_GENERATOR TGZ DEB)
  set(CPACK_PACKAGE_CONTACT "The allot authors")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "memory allocator for servers")
  set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libs)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  include(CPack)
endif()
