#include "opscore/actor.h"

int main(int argc, char** argv) {
  return opscore::run_main(argc, argv, [](opscore::Registry&) {});
}
