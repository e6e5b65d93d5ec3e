#pragma once
// The words of `error.kind` that opscore itself uses. Actors may use their own.

namespace opscore::error_kind {

inline constexpr char kActorError[] = "actor_error";        // the actor reported a failure
inline constexpr char kTimeout[] = "timeout";               // the attempt took too long
inline constexpr char kDeadline[] = "deadline";             // the task's deadline passed
inline constexpr char kCancelled[] = "cancelled";           // somebody cancelled it
inline constexpr char kWorkerLost[] = "worker_lost";        // the worker is gone
inline constexpr char kWorkerCrashed[] = "worker_crashed";  // the worker died while running it
inline constexpr char kPoison[] = "poison";                 // it crashed its worker three times
inline constexpr char kHandedBack[] = "handed_back";        // claimed, but not run
inline constexpr char kInvalidInput[] = "invalid_input";
inline constexpr char kBadOutput[] = "bad_output";  // the program's output is not usable
inline constexpr char kResultTooLarge[] = "result_too_large";
inline constexpr char kJournalMismatch[] = "journal_mismatch";
inline constexpr char kCorrupt[] = "corrupt";  // its row is damaged
// Python's Dramatiq had it, nobody reported, and its message is gone.
inline constexpr char kOutcomeUnknown[] = "outcome_unknown";
inline constexpr char kSkipped[] = "skipped";  // a middleware of Python's did not let it run
inline constexpr char kTooManySnoozes[] = "too_many_snoozes";

}  // namespace opscore::error_kind
