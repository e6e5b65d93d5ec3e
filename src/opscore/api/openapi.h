#pragma once
// The OpenAPI document as JSON, made from api/openapi.yaml at build time.

#include <string_view>

namespace opscore {

std::string_view openapi_json();

}  // namespace opscore
