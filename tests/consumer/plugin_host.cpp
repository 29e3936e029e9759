// Opens plugins that hold models of one name, checks them, closes them, and opens them again.
//
// Usage: program local|deep|global|info PLUGIN...: how they are opened; `info` runs the model `net` through
// net_info alone. With OWN_NET the program exports a model `net` of its own. Prints "done".
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <vector>

#ifdef OWN_NET
#include "net.h"
#endif

namespace {

int fail(const char *problem, const char *path) {
  std::printf("%s: %s\n", problem, path);
  return 1;
}

#ifdef OWN_NET
// What the model multiplies 1 by.
float factor(const tfaot_model_info *info) {
  std::vector<float> x(16, 1), y(16);
  const void *inputs[] = {x.data()};
  void *outputs[] = {y.data()};
  tfaot_model::net::workspace memory(1);
  if (info->set_max_isa != nullptr) info->set_max_isa(0);
  return info->run(1, inputs, outputs, memory.data()) == TFAOT_OK ? y[0] : -1;
}
#endif

int check(void *plugin, const char *path, bool by_info) {
#ifdef OWN_NET
  if (by_info) {
    using info_function = const tfaot_model_info *(*)();
    const auto info = reinterpret_cast<info_function>(dlsym(plugin, "net_info"));
    if (info == nullptr) return fail("no net_info in", path);
    if (info() == net_info()) return fail("the program's own model", path);
    const float expected = factor(net_info());
    return expected == 7 && factor(info()) != expected ? 0 : fail("wrong results", path);
  }
#endif
  if (by_info) return fail("built without a model of its own", path);
  const auto function = reinterpret_cast<int (*)()>(dlsym(plugin, "check_plugin"));
  return function != nullptr && function() == 0 ? 0 : fail("wrong results", path);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  const bool by_info = std::strcmp(argv[1], "info") == 0;
  int flags = RTLD_NOW | RTLD_LOCAL;
  if (std::strcmp(argv[1], "deep") == 0) flags |= RTLD_DEEPBIND;
  if (std::strcmp(argv[1], "global") == 0) flags = RTLD_NOW | RTLD_GLOBAL;
  for (int round = 0; round < 3; ++round) {
    std::vector<void *> plugins;
    for (int i = 2; i < argc; ++i) {
      plugins.push_back(dlopen(argv[i], flags));
      if (plugins.back() == nullptr) return fail("can't open", dlerror());
    }
    // In any order, and again while the others are there.
    for (int again = 0; again < 2; ++again) {
      for (std::size_t i = plugins.size(); i-- > 0;) {
        if (check(plugins[i], argv[i + 2], by_info) != 0) return 1;
      }
    }
    for (std::size_t i = 0; i < plugins.size(); ++i) {
      if (dlclose(plugins[i]) != 0) return fail("can't close", argv[i + 2]);
    }
    // Only then: where all see all, a plugin may use the C++ library's templates in another.
    for (int i = 2; i < argc; ++i) {
      if (dlopen(argv[i], RTLD_NOW | RTLD_NOLOAD) != nullptr) return fail("still loaded", argv[i]);
    }
  }
  std::puts("done");
  return 0;
}
