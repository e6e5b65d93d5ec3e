#pragma once
// From what a client asked for to what is stored: checks, defaults, uniqueness keys. Pure but for
// the schema check, which only computes.

#include "opscore/engine/service.h"

namespace opscore {

// Throws Error{invalid, too_large} with field() set.
void check_request(const SubmitRequest& request, const ServiceOptions& options, TimePoint now);

// `entry` is what is known of the type; null when nothing is.
InsertItem to_item(SubmitRequest request, const CatalogueEntry* entry, TimePoint now);

}  // namespace opscore
