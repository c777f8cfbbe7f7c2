# fairlead_bpf(TARGET): every bpf/*.bpf.c by clang-19, then a skeleton header by bpftool, which
# carries the object inside the binary. Include as "skeletons/<name>.skel.h".
find_program(BPF_CLANG NAMES clang-19 REQUIRED)
find_program(BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

function(fairlead_bpf target)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.bpf.c)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h ${CMAKE_SOURCE_DIR}/bpf/shared/*.h)
  set(outdir ${CMAKE_BINARY_DIR}/bpf/skeletons)
  file(MAKE_DIRECTORY ${outdir})
  set(skeletons)
  foreach(source ${sources})
    get_filename_component(name ${source} NAME_WE)
    set(object ${outdir}/${name}.bpf.o)
    set(skeleton ${outdir}/${name}.skel.h)
    add_custom_command(OUTPUT ${object}
      COMMAND ${BPF_CLANG} -O2 -g -mcpu=v3 -target bpf -Wall -Wextra -Werror
              -Wno-unused-function -Wno-address-of-packed-member
              -D__TARGET_ARCH_x86 -I${CMAKE_SOURCE_DIR} -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
              -c ${source} -o ${object}
      DEPENDS ${source} ${headers} VERBATIM COMMENT "BPF ${name}")
    add_custom_command(OUTPUT ${skeleton}
      COMMAND sh -c "'${BPFTOOL}' gen skeleton '${object}' name ${name}_bpf > '${skeleton}.new' && mv '${skeleton}.new' '${skeleton}'"
      DEPENDS ${object} VERBATIM COMMENT "skeleton ${name}")
    list(APPEND skeletons ${skeleton})
  endforeach()
  add_custom_target(${target}_files DEPENDS ${skeletons})
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_files)
  target_include_directories(${target} SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/bpf)
endfunction()
