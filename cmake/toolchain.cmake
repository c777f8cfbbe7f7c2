# How code is compiled here: warnings are errors, ccache and mold are used when they are there, and
# -DFAIRLEAD_SANITIZE=address|thread|fuzzer picks an instrumented build (see CMakePresets.json).
find_program(CCACHE ccache)
if(CCACHE)
  # A precompiled header makes ccache refuse a unit unless it may ignore these; the header's own
  # content is still hashed.
  set(_ccache ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${_ccache})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_ccache})
endif()

find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_compile_options(-Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wno-missing-field-initializers
                    -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports these inside its own <string> and Boost at -O2, where nothing is wrong (GCC PR
  # 105329, 105593).
  add_compile_options(-Wno-restrict -Wno-maybe-uninitialized -Wno-stringop-overflow
                      -Wno-array-bounds -Wno-stringop-overread -Wno-dangling-pointer)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
else()
  # A precompiled header must not carry timestamps, or ccache never hits.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  # libstdc++ 12 calls its own deprecated get_temporary_buffer from std::stable_sort. g++ still
  # reports what we call ourselves.
  add_compile_options(-Wno-deprecated-declarations)
endif()
# Asio and Beast appear as compiled code once, in net/beast.cc.
add_compile_definitions(BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION
                        BOOST_ASIO_NO_DEPRECATED)

set(FAIRLEAD_SANITIZE "" CACHE STRING "address, thread, fuzzer or empty")
if(FAIRLEAD_SANITIZE STREQUAL "address")
  set(_san -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(FAIRLEAD_SANITIZE STREQUAL "thread")
  set(_san -fsanitize=thread)
elseif(FAIRLEAD_SANITIZE STREQUAL "fuzzer")
  set(_san -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all)
endif()
if(_san)
  add_compile_options(${_san})
  add_link_options(${_san})
endif()
