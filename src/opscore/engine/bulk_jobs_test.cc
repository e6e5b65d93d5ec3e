#include "opscore/engine/bulk_jobs.h"

#include <gmock/gmock.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "opscore/engine/service_fixture.h"

namespace opscore {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

class BulkJobsTest : public ServiceTest {
 protected:
  BulkJobsTest() {
    char name[] = "/tmp/opscore-export-XXXXXX";
    folder_ = ::mkdtemp(name);
    bulk_ = make_bulk();
  }
  ~BulkJobsTest() override { std::filesystem::remove_all(folder_); }

  std::unique_ptr<BulkJobs> make_bulk(int64_t reserve = 0) {
    BulkJobsOptions options;
    options.exports = folder_ + "/exports";
    options.disk_reserve_bytes = reserve;
    options.write_task = [](std::string& out, const Task& task) { out += task.input; };
    options.wake = [this] { ++wakes_; };
    return std::make_unique<BulkJobs>(*store_, clock_, *log_, options);
  }
  JobRequest of_type(JobAction action, const std::string& type = "mail.send") {
    JobRequest request;
    request.action = action;
    request.filter.type = type;
    return request;
  }
  void submit_inputs(int count) {
    for (int i = 0; i < count; ++i) {
      SubmitRequest one = request();
      one.input = std::to_string(i);
      submit(one);
    }
  }
  Job finish(const Job& job) {
    while (bulk_->work()) {
    }
    return bulk_->get(BulkJobs::id_of(job.id));
  }
  static std::string read(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  std::string folder_;
  int wakes_ = 0;
  std::unique_ptr<BulkJobs> bulk_;
};

TEST_F(BulkJobsTest, is_worked_on_in_slices_until_it_is_done) {
  submit_inputs(250);
  Job job = bulk_->start(of_type(JobAction::cancel));
  EXPECT_EQ(wakes_, 1);
  EXPECT_EQ(job.state, JobState::pending);
  ASSERT_TRUE(bulk_->work());
  Job begun = bulk_->get(BulkJobs::id_of(job.id));
  EXPECT_EQ(begun.state, JobState::running);
  EXPECT_GT(begun.counts.done, 0);
  EXPECT_LT(begun.counts.done, 250);
  Job ended = finish(job);
  EXPECT_EQ(ended.state, JobState::completed);
  EXPECT_EQ(ended.counts.done, 250);
  EXPECT_FALSE(bulk_->work());
}

TEST_F(BulkJobsTest, jobs_take_turns) {
  submit_inputs(250);
  Job first = bulk_->start(of_type(JobAction::cancel));
  Job second = bulk_->start(of_type(JobAction::remove));
  bulk_->work();
  bulk_->work();
  EXPECT_EQ(bulk_->get(BulkJobs::id_of(first.id)).state, JobState::running);
  EXPECT_EQ(bulk_->get(BulkJobs::id_of(second.id)).state, JobState::running);
}

TEST_F(BulkJobsTest, an_empty_filter_must_be_meant) {
  submit_inputs(1);
  for (JobAction action : {JobAction::cancel, JobAction::retry, JobAction::remove}) {
    JobRequest everything;
    everything.action = action;
    Error error = error_of([&] { bulk_->start(everything); });
    EXPECT_EQ(error.code(), Errc::invalid);
    EXPECT_EQ(error.field(), "filter");
    EXPECT_EQ(error_of([&] { bulk_->estimate(everything); }).code(), Errc::invalid);
    everything.all = true;
    EXPECT_EQ(finish(bulk_->start(everything)).state, JobState::completed);
  }
}

TEST_F(BulkJobsTest, an_estimate_counts_and_changes_nothing) {
  submit_inputs(3);
  SubmitRequest other = request();
  other.task_id = "mine";
  submit(other);
  service_->cancel("mine");
  JobEstimate cancel = bulk_->estimate(of_type(JobAction::cancel));
  EXPECT_TRUE(cancel.exact);
  EXPECT_EQ(cancel.counts.done, 3);
  JobRequest wide = of_type(JobAction::cancel);
  wide.filter.states = StateSet(State::pending, State::cancelled);
  EXPECT_EQ(bulk_->estimate(wide).counts.matched, 4);
  EXPECT_THAT(bulk_->estimate(wide).counts.skipped, ElementsAre(Pair("cancelled", 1)));
  EXPECT_EQ(service_->queue("default").stats.pending, 3);
  EXPECT_TRUE(bulk_->list(10).empty());
}

TEST_F(BulkJobsTest, a_stopped_job_is_left_where_it_is) {
  submit_inputs(250);
  Job job = bulk_->start(of_type(JobAction::cancel));
  std::string id = BulkJobs::id_of(job.id);
  bulk_->work();
  int64_t done = bulk_->stop(id).counts.done;
  EXPECT_FALSE(bulk_->work());
  EXPECT_EQ(bulk_->get(id).counts.done, done);
  EXPECT_EQ(service_->queue("default").stats.pending, 250 - done);
  EXPECT_EQ(error_of([&] { bulk_->stop(id); }).code(), Errc::conflict);
  for (const char* none : {"job_99", "job_", "99", "job_1x", "job_-1"})
    EXPECT_EQ(error_of([&] { bulk_->stop(none); }).code(), Errc::not_found) << none;
}

TEST_F(BulkJobsTest, an_export_has_a_line_for_each_task_in_their_order) {
  submit_inputs(250);
  Job job = bulk_->start(of_type(JobAction::export_tasks));
  std::string id = BulkJobs::id_of(job.id), wanted;
  EXPECT_EQ(error_of([&] { bulk_->export_file(id); }).code(), Errc::conflict);
  EXPECT_EQ(finish(job).counts.done, 250);
  for (int i = 0; i < 250; ++i) wanted += std::to_string(i) + "\n";
  EXPECT_EQ(read(bulk_->export_file(id)), wanted);
}

TEST_F(BulkJobsTest, an_export_goes_on_after_a_crash_without_a_line_twice) {
  submit_inputs(250);
  Job job = bulk_->start(of_type(JobAction::export_tasks));
  std::string id = BulkJobs::id_of(job.id), wanted;
  bulk_->work();
  // A slice that was written and not recorded.
  std::ofstream(folder_ + "/exports/" + id + ".ndjson", std::ios::app) << "100\n101\n10";
  bulk_ = make_bulk();
  EXPECT_EQ(finish(job).state, JobState::completed);
  for (int i = 0; i < 250; ++i) wanted += std::to_string(i) + "\n";
  EXPECT_EQ(read(bulk_->export_file(id)), wanted);
}

TEST_F(BulkJobsTest, an_export_whose_file_is_gone_fails_and_says_so) {
  submit_inputs(250);
  Job job = bulk_->start(of_type(JobAction::export_tasks));
  bulk_->work();
  std::filesystem::remove_all(folder_ + "/exports");
  Job ended = finish(job);
  EXPECT_EQ(ended.state, JobState::failed);
  EXPECT_THAT(ended.error, HasSubstr("start the export again"));
}

TEST_F(BulkJobsTest, an_export_leaves_the_disk_its_reserve) {
  submit_inputs(1);
  bulk_ = make_bulk(int64_t{1} << 60);
  Job ended = finish(bulk_->start(of_type(JobAction::export_tasks)));
  EXPECT_EQ(ended.state, JobState::failed);
  EXPECT_THAT(ended.error, HasSubstr("stay free"));
  EXPECT_FALSE(
      std::filesystem::exists(folder_ + "/exports/" + BulkJobs::id_of(ended.id) + ".ndjson"));
}

TEST_F(BulkJobsTest, ended_jobs_and_their_files_are_forgotten_after_a_week) {
  submit_inputs(1);
  Job job = finish(bulk_->start(of_type(JobAction::export_tasks)));
  std::string file = bulk_->export_file(BulkJobs::id_of(job.id));
  clock_.advance(std::chrono::hours(24 * 7) + Duration(1));
  bulk_->work();
  EXPECT_TRUE(bulk_->list(10).empty());
  EXPECT_FALSE(std::filesystem::exists(file));
}

}  // namespace
}  // namespace opscore
