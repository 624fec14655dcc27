// Streams as hardware has them: FIFOs that hold no more than their depth, between processes that run side by side.
//
// Takes the place of hls4ml's header, whose streams hold anything. A stream that is named in the file "depths" (lines of
// name and depth) has that depth; others, the ports, hold anything. Where every process waits, none will ever go on: the
// program says "deadlock" and ends with status 3.

#ifndef X_HLS_STREAM_SIM_H
#define X_HLS_STREAM_SIM_H

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace bounded {

struct state_t {
    std::mutex mutex;
    std::condition_variable changed;
    int running = 0, waiting = 0; // processes; of those, which have found themselves unable to go on since the last change
    long changes = 0;
};

inline state_t &state() {
    static state_t only;
    return only;
}

inline void check() { // with the mutex held
    if (state().running && state().waiting == state().running) {
        std::puts("deadlock");
        std::fflush(stdout);
        std::_Exit(3);
    }
}

inline void change() {
    state().changes++;
    state().waiting = 0;
    state().changed.notify_all();
}

// Wait until `possible`, in a process; the main thread comes before all of them and after.
inline void wait(std::unique_lock<std::mutex> &lock, const std::function<bool()> &possible) {
    while (!possible()) {
        const long seen = state().changes;
        state().waiting++;
        check();
        state().changed.wait(lock, [seen] { return state().changes != seen; });
    }
}

inline void run(const std::vector<std::function<void()>> &processes) {
    state().running = int(processes.size());
    std::vector<std::thread> threads;
    for (const std::function<void()> &process : processes)
        threads.emplace_back([&process] {
            process();
            std::lock_guard<std::mutex> lock(state().mutex);
            state().running--;
            check();
        });
    for (std::thread &thread : threads)
        thread.join();
}

inline size_t depth_of(const std::string &name) {
    std::ifstream file("depths");
    std::string other;
    for (size_t depth; file >> other >> depth;)
        if (other == name)
            return depth;
    return size_t(-1);
}

} // namespace bounded

namespace hls {

template <typename T> class stream {
    std::deque<T> data;
    size_t depth;

  public:
    stream() : depth(size_t(-1)) {}
    stream(const std::string &name) : depth(bounded::depth_of(name)) {}

    T read() {
        std::unique_lock<std::mutex> lock(bounded::state().mutex);
        bounded::wait(lock, [this] { return !data.empty(); });
        T head = data.front();
        data.pop_front();
        bounded::change();
        return head;
    }

    void read(T &head) { head = read(); }

    void write(const T &tail) {
        std::unique_lock<std::mutex> lock(bounded::state().mutex);
        bounded::wait(lock, [this] { return data.size() < depth; });
        data.push_back(tail);
        bounded::change();
    }
};

} // namespace hls

#endif
