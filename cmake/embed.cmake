# cmake -DOUTPUT=x.cc -DHEADER=x.h -DNAMESPACE=a::b -DPARTS=kName=file;kOther= -P embed.cmake
# Writes a C++ file that defines each name as the text of its file, or as nothing where no file is given.
set(source "// Made by cmake/embed.cmake.\n#include \"${HEADER}\"\n\nnamespace ${NAMESPACE} {\n\n")
foreach(part ${PARTS})
  string(REGEX MATCH "^([^=]*)=(.*)$" all "${part}")
  set(name "${CMAKE_MATCH_1}")
  set(text "")
  if(NOT CMAKE_MATCH_2 STREQUAL "")
    file(READ "${CMAKE_MATCH_2}" text)
  endif()
  string(APPEND source "const std::string_view ${name} = R\"embedded(${text})embedded\";\n")
endforeach()
file(WRITE "${OUTPUT}" "${source}\n}  // namespace ${NAMESPACE}\n")
