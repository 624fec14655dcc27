// Drives a design that Yosys has turned into C++ (CXXRTL) over its AXI4-Stream ports, all frames back to back.
//
// The file that includes this one has included the design and defines
//     TOP           the class of the top module
//     PROBES        P(name, stream) for each stream to watch; the design has the ports that P makes of it
//
// usage: driver FOLDER IN_BEATS OUT_BEATS TIMEOUT
// FOLDER holds `frames`, the beats of all frames, each in whole bytes, the lowest first. Written there: `beats`, the
// result beats in the same way; `cycles`, for each frame two int64: the clock cycle at which its first beat was taken
// and the one at which its last result beat was, counted from the first beat of all; and `probe.NAME` for each probe,
// the vectors that moved there. Exit status 3 and a line on standard error if the design gets stuck or misplaces tlast.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

template <size_t Bits>
struct Port {
    static constexpr size_t bytes = (Bits + 7) / 8;

    static void set(cxxrtl::value<Bits> &port, const char *from) {
        std::memset(port.data, 0, sizeof port.data);
        std::memcpy(port.data, from, bytes);  // CXXRTL's 32-bit chunks are little-endian, as is this machine
    }

    static void append(const cxxrtl::value<Bits> &port, std::vector<char> &to) {
        const char *data = reinterpret_cast<const char *>(port.data);
        to.insert(to.end(), data, data + bytes);
    }
};

template <size_t Bits>
void set(cxxrtl::value<Bits> &port, const char *from) { Port<Bits>::set(port, from); }

template <size_t Bits>
void append(const cxxrtl::value<Bits> &port, std::vector<char> &to) { Port<Bits>::append(port, to); }

template <size_t Bits>
void append(const cxxrtl::wire<Bits> &port, std::vector<char> &to) { Port<Bits>::append(port.curr, to); }

template <size_t Bits>
constexpr size_t width(const cxxrtl::value<Bits> &) { return Bits; }

inline bool high(const cxxrtl::value<1> &port) { return port.data[0] != 0; }
inline bool high(const cxxrtl::wire<1> &port) { return port.curr.data[0] != 0; }

static void save(const std::string &path, const char *data, size_t size) {
    std::ofstream file(path, std::ios::binary);
    file.write(data, static_cast<std::streamsize>(size));
    file.close();
    if (!file) {
        std::fprintf(stderr, "cannot write %s\n", path.c_str());
        std::exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: driver FOLDER IN_BEATS OUT_BEATS TIMEOUT\n");
        return 2;
    }
    const std::string folder = argv[1];
    const size_t in_beats = std::strtoull(argv[2], nullptr, 10), out_beats = std::strtoull(argv[3], nullptr, 10);
    const long long timeout = std::strtoll(argv[4], nullptr, 10);

    static TOP top;
    std::ifstream file(folder + "/frames", std::ios::binary);
    const std::vector<char> input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t beat_bytes = (width(top.p_s__axis__tdata) + 7) / 8;
    const size_t frames = input.size() / (beat_bytes * in_beats);

    std::vector<char> beats;
    std::vector<long long> cycles(2 * frames, -1);
#define P(name, stream) std::vector<char> name##_words;
    PROBES
#undef P

    long long cycle = 0, moved = 0, start = 0;
    size_t sent = 0, received = 0;
    // One clock cycle: all ports settle, what moves at the coming edge is noted, then the edge.
    auto tick = [&](bool running) {
        top.p_aresetn.set(running || cycle >= 8);
        const bool offering = running && sent < frames * in_beats;
        top.p_s__axis__tvalid.set(offering);
        top.p_s__axis__tlast.set(offering && sent % in_beats == in_beats - 1);
        if (offering) set(top.p_s__axis__tdata, &input[sent * beat_bytes]);
        top.p_m__axis__tready.set(running);
        // One evaluation gives the ports before the edge and the registers behind it: no wire depends on itself.
        top.prev_p_aclk.set(false);
        top.p_aclk.set(true);
        top.eval();
        const bool in = offering && high(top.p_s__axis__tready), out = running && high(top.p_m__axis__tvalid);
        if (running) {
#define P(name, stream) \
    if (high(top.stream##__valid) && high(top.stream##__ready)) append(top.stream##__data, name##_words);
            PROBES
#undef P
        }
        if (in) {
            if (sent == 0) start = cycle;
            if (sent % in_beats == 0) cycles[2 * (sent / in_beats)] = cycle - start;
            ++sent;
        }
        if (out && received == frames * out_beats) {
            std::fprintf(stderr, "more result beats than those of %zu frames\n", frames);
            std::exit(3);
        }
        if (out) {
            append(top.p_m__axis__tdata, beats);
            const bool last = received % out_beats == out_beats - 1;
            if (high(top.p_m__axis__tlast) != last) {
                std::fprintf(stderr, "frame %zu: tlast is %d at beat %zu of %zu\n", received / out_beats, !last,
                             received % out_beats, out_beats);
                std::exit(3);
            }
            if (last) cycles[2 * (received / out_beats) + 1] = cycle - start;
            ++received;
        }
        if (in || out) moved = cycle;
        top.commit();
        ++cycle;
    };

    while (cycle < 12) tick(false);  // 8 cycles of reset, then at rest
    while (received < frames * out_beats) {
        tick(true);
        if (cycle - moved > timeout) {
            std::fprintf(stderr, "frame %zu: no result within %lld clock cycles\n", received / out_beats, timeout);
            return 3;
        }
    }
    for (int extra = 0; extra < 64; ++extra) tick(true);
#define P(name, stream) save(folder + "/probe." #name, name##_words.data(), name##_words.size());
    PROBES
#undef P
    save(folder + "/cycles", reinterpret_cast<const char *>(cycles.data()), cycles.size() * sizeof cycles[0]);
    save(folder + "/beats", beats.data(), beats.size());
    return 0;
}
