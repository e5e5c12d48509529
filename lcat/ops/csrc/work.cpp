#include "work.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

#if !defined(_WIN32)
#include <unistd.h>
#endif

namespace lcat {
namespace {

int64_t process_id() {
#if defined(_WIN32)
  return 0;
#else
  return getpid();
#endif
}

struct Job {
  void (*run)(void*, int);
  void* context;
  int chunks;
  std::atomic<int> next{0};
  std::atomic<bool> out_of_memory{false};

  void work() {
    for (int chunk = next++; chunk < chunks; chunk = next++) {
      try {
        run(context, chunk);
      } catch (const std::bad_alloc&) {
        out_of_memory = true;
      }
    }
  }
};

// Threads that wait for jobs. A pool is never destroyed: its threads are detached and may outlive main(), and
// in a forked child, where they do not exist, it is replaced as a whole (its locks may be held by threads that
// are gone).
class Pool {
 public:
  Pool() : process(process_id()) {}
  const int64_t process;

  // False, with nothing done, if another thread's job is running: the caller then works alone, which is what
  // it should do on a machine that is already busy, and cannot deadlock.
  bool run(Job& job, int helpers) {
    std::unique_lock<std::mutex> one_job(entry_, std::try_to_lock);
    if (!one_job.owns_lock()) return false;
    {
      std::lock_guard<std::mutex> guard(state_);
      while (threads_ < helpers) {
        try {
          std::thread([this, index = threads_] { serve(index); }).detach();
        } catch (const std::system_error&) {
          break;  // no more threads are available: fewer do the work
        }
        ++threads_;
      }
      job_ = &job;
      helpers_ = helpers;
      ++generation_;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock<std::mutex> guard(state_);
    job_ = nullptr;  // a helper that wakes only now finds nothing to do
    done_.wait(guard, [this] { return active_ == 0; });
    return true;
  }

 private:
  void serve(int index) {
    int64_t seen = 0;
    std::unique_lock<std::mutex> guard(state_);
    for (;;) {
      wake_.wait(guard, [&] { return generation_ != seen; });
      seen = generation_;
      Job* job = job_;
      if (job == nullptr || index >= helpers_) continue;
      ++active_;
      guard.unlock();
      job->work();
      guard.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex entry_, state_;
  std::condition_variable wake_, done_;
  Job* job_ = nullptr;
  int64_t generation_ = 0;
  int threads_ = 0, helpers_ = 0, active_ = 0;
};

std::atomic<Pool*> current{nullptr};

Pool& pool() {
  Pool* existing = current.load();
  if (existing == nullptr || existing->process != process_id()) {
    Pool* fresh = new Pool;
    if (current.compare_exchange_strong(existing, fresh)) {
      existing = fresh;
    } else {
      delete fresh;
    }
  }
  return *existing;
}

}  // namespace

int run_chunks(int threads, int chunks, void (*run)(void*, int), void* context) {
  Job job;
  job.run = run;
  job.context = context;
  job.chunks = chunks;
  threads = std::min(threads, chunks);
  if (threads <= 1 || !pool().run(job, threads - 1)) job.work();
  return job.out_of_memory ? 1 : 0;
}

}  // namespace lcat
