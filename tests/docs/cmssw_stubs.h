// The little of CMSSW's interfaces that the sketch in docs/cms.md uses, to compile it against.
#pragma once
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace reco {
struct Jet {
  double pt() const { return 50; }
  double eta() const { return 0.5; }
  double phi() const { return 1; }
  double mass() const { return 5; }
};
}  // namespace reco

namespace edm {
template <typename T>
using View = std::vector<T>;
template <typename T>
struct EDGetTokenT {};
template <typename T>
struct EDPutTokenT {};
struct InputTag {
  InputTag() = default;
  explicit InputTag(const char *) {}
};
struct ParameterSet {
  template <typename T>
  T getParameter(const std::string &) const {
    return T();
  }
};
struct ParameterSetDescription {
  template <typename T>
  void add(const std::string &, const T &) {}
};
struct ConfigurationDescriptions {
  void addWithDefaultLabel(const ParameterSetDescription &) {}
};
struct EventSetup {};
struct Event {
  std::vector<reco::Jet> jets;
  std::vector<float> put;
  template <typename T>
  const T &get(const EDGetTokenT<T> &) const {
    return jets;
  }
  template <typename T>
  void emplace(const EDPutTokenT<T> &, T &&value) {
    put = std::move(value);
  }
};
struct AnyToken {
  template <typename T>
  operator EDGetTokenT<T>() const {
    return {};
  }
  template <typename T>
  operator EDPutTokenT<T>() const {
    return {};
  }
};
namespace stream {
template <typename... Caches>
struct EDProducer {
  virtual ~EDProducer() = default;
  virtual void produce(Event &, const EventSetup &) = 0;
  AnyToken consumes(const InputTag &) { return {}; }
  AnyToken produces() { return {}; }
};
}  // namespace stream
}  // namespace edm

namespace cms {
struct Exception {
  explicit Exception(const char *) {}
  Exception &operator<<(const char *) { return *this; }
};
}  // namespace cms

#define DEFINE_FWK_MODULE(type) \
  edm::stream::EDProducer<> *make_module() { return new type(edm::ParameterSet()); }
