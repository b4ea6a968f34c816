# The ROS 2 wheels export CMake targets whose include folders lie on the machine that built them, and
# CMake refuses targets with include folders that do not exist. Given as CMAKE_PROJECT_INCLUDE, this
# drops such folders once a project has found its packages. It changes nothing where all exist.

function(distillnerf_drop_missing_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(existing "")
    foreach(folder IN LISTS folders)
      if(NOT IS_ABSOLUTE "${folder}" OR EXISTS "${folder}")
        list(APPEND existing "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
  endforeach()
endfunction()

cmake_language(DEFER CALL distillnerf_drop_missing_includes)
