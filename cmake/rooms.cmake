# fairlead_room(NAME [DIR folder] [FLAT] [DEPS room...] [LIBS target...] [MAIN file]): the static
# library of one room, made of every .cc below its folder (FLAT: in the folder itself). MAIN files
# belong to an executable and are left out.
function(fairlead_room name)
  cmake_parse_arguments(R "FLAT" "DIR" "DEPS;LIBS;MAIN" ${ARGN})
  if(NOT R_DIR)
    set(R_DIR ${name})
  endif()
  if(R_FLAT)
    file(GLOB sources CONFIGURE_DEPENDS ${R_DIR}/*.cc)
  else()
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${R_DIR}/*.cc)
  endif()
  foreach(main ${R_MAIN})
    list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${main})
  endforeach()
  if(NOT sources)
    file(WRITE ${CMAKE_BINARY_DIR}/empty.cc "")
    set(sources ${CMAKE_BINARY_DIR}/empty.cc)
  endif()
  add_library(${name} STATIC ${sources})
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${R_DEPS} ${R_LIBS} Threads::Threads)
  target_precompile_headers(${name} PRIVATE
      <algorithm> <array> <chrono> <expected> <functional> <map> <memory> <optional> <string>
      <string_view> <unordered_map> <utility> <vector>)
endfunction()

# fairlead_tests(ROOM [DIR folder] [TIMEOUT seconds] DEPS room...): the .cc files of tests/ROOM (or
# tests/DIR) as one program test_ROOM; ctest sees each case.
function(fairlead_tests room)
  cmake_parse_arguments(T "" "DIR;TIMEOUT" "DEPS" ${ARGN})
  if(NOT T_DIR)
    set(T_DIR ${room})
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${T_DIR}/*.cc)
  if(NOT sources)
    return()
  endif()
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 60)
  endif()
  add_executable(test_${room} ${sources})
  target_link_libraries(test_${room} PRIVATE ${T_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(test_${room} PRIVATE FAIRLEAD_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_precompile_headers(test_${room} PRIVATE <gtest/gtest.h> <gmock/gmock.h>)
  gtest_discover_tests(test_${room} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
                       TEST_PREFIX ${room}. PROPERTIES TIMEOUT ${T_TIMEOUT} LABELS ${room})
endfunction()

# fairlead_embed(TARGET DIR): the files of DIR inside the binary, by .incbin, so that they cost no
# compile time and their pages are only read when touched. Symbol: fairlead_data_<name>, where every
# character of the file name that is not alphanumeric became '_'.
function(fairlead_embed target dir)
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*)
  set(asm "  .section .rodata\n")
  foreach(file ${files})
    get_filename_component(name ${file} NAME)
    string(REGEX REPLACE "[^A-Za-z0-9]" "_" symbol ${name})
    string(APPEND asm "  .balign 16\n  .global fairlead_data_${symbol}\n  .global fairlead_data_${symbol}_end\n"
                      "fairlead_data_${symbol}:\n  .incbin \"${file}\"\nfairlead_data_${symbol}_end:\n  .byte 0\n")
  endforeach()
  string(APPEND asm "  .section .note.GNU-stack,\"\",@progbits\n")
  set(out ${CMAKE_BINARY_DIR}/embed/${target}_data.S)
  file(CONFIGURE OUTPUT ${out} CONTENT "${asm}" @ONLY)
  set_source_files_properties(${out} PROPERTIES OBJECT_DEPENDS "${files}" SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${out})
endfunction()
