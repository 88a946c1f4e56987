# The operators of kernels/<operator>/, compiled into object libraries that the engine's library takes in whole
# (DS_KERNEL_OBJECTS, DS_KERNEL_LIBRARIES):
#   *_cpu.cpp   once per instruction set, without libtorch's headers; kernels/common/cpu.h chooses at run time, by common/isa.cpp
#   *_cuda.cu   where libtorch has CUDA, without libtorch's headers; DEEPSEEK_CUDA is defined everywhere then
#   other .cpp  registration with the dispatcher, on a precompiled header
set(DS_KERNEL_OBJECTS)
set(DS_KERNEL_LIBRARIES)
set(kernels "${CMAKE_CURRENT_SOURCE_DIR}/kernels")
file(GLOB kernel_sources CONFIGURE_DEPENDS kernels/*/*.cpp)
file(GLOB kernel_cpu_sources CONFIGURE_DEPENDS kernels/*/*_cpu.cpp)
file(GLOB kernel_cuda_sources CONFIGURE_DEPENDS kernels/*/*.cu)
list(REMOVE_ITEM kernel_sources ${kernel_cpu_sources} "${kernels}/common/isa.cpp")

option(DS_CUDA "Build the CUDA kernels" ${DS_TORCH_CUDA})
if(DS_CUDA)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 90a)
  endif()
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX} AND EXISTS /usr/local/cuda/bin/nvcc)
    set(CMAKE_CUDA_COMPILER /usr/local/cuda/bin/nvcc)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  add_compile_definitions(DEEPSEEK_CUDA)
  message(STATUS "kernels: CUDA ${CUDAToolkit_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
endif()

function(ds_kernel_objects name)
  add_library(${name} OBJECT ${ARGN})
  target_compile_features(${name} PRIVATE cxx_std_17)
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/include" "${kernels}")
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CUDA_STANDARD 17)
endfunction()

if(kernel_sources)
  ds_kernel_objects(deepseek_operators ${kernel_sources})
  target_link_libraries(deepseek_operators PRIVATE libtorch)
  target_compile_options(deepseek_operators PRIVATE ${ds_warnings})
  # at::parallel_for is a template: without OpenMP where it is compiled it runs on one thread.
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  target_link_libraries(deepseek_operators PRIVATE OpenMP::OpenMP_CXX)
  list(APPEND DS_KERNEL_LIBRARIES $<LINK_ONLY:OpenMP::OpenMP_CXX>)
  target_precompile_headers(deepseek_operators PRIVATE kernels/common/operator.h)
  list(APPEND DS_KERNEL_OBJECTS $<TARGET_OBJECTS:deepseek_operators>)
endif()

# Multiply-adds are contracted here: results are equal from run to run on one machine, and within the stated tolerance
# between instruction sets. -fno-trapping-math lets GCC turn conditional floating-point code into blends; GCC 12 warns falsely of
# uninitialised values inside its own AVX-512 header (GCC bug 105593).
set(ds_cpu_options ${ds_warnings} -O3 -ffp-contract=fast -fno-trapping-math -Wno-psabi -Wno-uninitialized -Wno-maybe-uninitialized)
set(ds_isa_names portable)
set(ds_isa_portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  list(APPEND ds_isa_names avx2 avx512)
  set(ds_isa_avx2 -mavx2 -mfma -mf16c)
  set(ds_isa_avx512 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512)
endif()
ds_kernel_objects(deepseek_isa "${kernels}/common/isa.cpp")
target_compile_options(deepseek_isa PRIVATE ${ds_warnings})
set(ds_cpu_objects $<TARGET_OBJECTS:deepseek_isa>)
foreach(isa ${ds_isa_names})
  ds_kernel_objects(deepseek_cpu_${isa} ${kernel_cpu_sources})
  target_compile_options(deepseek_cpu_${isa} PRIVATE ${ds_cpu_options} ${ds_isa_${isa}})
  target_compile_definitions(deepseek_cpu_${isa} PRIVATE DS_ISA=${isa})
  list(APPEND ds_cpu_objects $<TARGET_OBJECTS:deepseek_cpu_${isa}>)
endforeach()
list(APPEND DS_KERNEL_OBJECTS ${ds_cpu_objects})
# The same objects for libraries without libtorch, of which a linker takes those that are called.
add_library(deepseek_cpu STATIC ${ds_cpu_objects})
set_target_properties(deepseek_cpu PROPERTIES LINKER_LANGUAGE CXX)

if(DS_CUDA)
  if(kernel_cuda_sources)
    ds_kernel_objects(deepseek_cuda ${kernel_cuda_sources})
    target_compile_options(deepseek_cuda PRIVATE -O3 --expt-relaxed-constexpr -Xcompiler=-fvisibility=hidden -lineinfo)
    list(APPEND DS_KERNEL_OBJECTS $<TARGET_OBJECTS:deepseek_cuda>)
  endif()
  if(TARGET deepseek_operators)
    target_include_directories(deepseek_operators SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endif()
  # cuda.h's functions are reached through cudaGetDriverEntryPoint, so that the library loads where no driver is.
  list(APPEND DS_KERNEL_LIBRARIES CUDA::cudart)
endif()
