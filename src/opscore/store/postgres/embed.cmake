# Writes OUTPUT: the migrations in FOLDER as C++, in the order of their numbers.
file(GLOB files ${FOLDER}/*.sql)
list(SORT files)
set(rows "")
foreach(file ${files})
  get_filename_component(name ${file} NAME_WE)
  string(REGEX MATCH "^0*([0-9]+)_" _ ${name})
  file(READ ${file} sql)
  string(APPEND rows "    {${CMAKE_MATCH_1}, \"${name}\", R\"sql(${sql})sql\"},\n")
endforeach()
file(WRITE ${OUTPUT} "#include <span>\n\n#include \"opscore/store/postgres/schema.h\"\n
namespace opscore::postgres {
std::span<const Migration> migrations() {
  static constexpr Migration kMigrations[] = {
${rows}  };
  return kMigrations;
}
}  // namespace opscore::postgres
")
