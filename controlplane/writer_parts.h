// What the writer's files share.
#pragma once

#include <string>
#include <vector>

#include "controlplane/writer.h"

namespace fairlead::controlplane {

json::value document_of(const StoredObject& object);
std::string quoted_list(const std::vector<std::string>& problems);

// One update on its way: main resource, subresource or patch.
struct Writer::Update {
  Target target;
  ObjectPtr head;
  json::value old;
  json::value document;
  WriteOptions options;
  Written result;
  bool version_needed = false;  // a PUT; a patch starts from the head
};

}  // namespace fairlead::controlplane
