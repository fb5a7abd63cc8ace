import COpenBLAS
import Glibc

/// What OpenBLAS runs on: its kernel set ("core type") and its thread count.
///
/// Debian's OpenBLAS 0.3.21 takes some new CPUs for "Prescott" and then runs five times slower than
/// it could. The choice is made while the library loads, so it can only be corrected by starting the
/// program again with `OPENBLAS_CORETYPE` set.
public enum BLASCore {
  /// The kernel set in use, as OpenBLAS names it ("SkylakeX", "Haswell", ...).
  public static var active: String { String(cString: openblas_get_corename()) }

  /// The library and its version, "OpenBLAS 0.3.21".
  public static var version: String {
    let words = String(cString: openblas_get_config()).split(separator: " ")
    return words.prefix(2).joined(separator: " ")
  }

  /// The kernel set this CPU's instructions deserve; `nil` when any will do.
  public static var deserved: String? { core(forCPUFlags: cpuFlags()) }

  /// Whether the active kernel set uses the widest vectors this CPU has.
  public static var isDeserved: Bool {
    guard let deserved else { return true }
    return level(ofCore: active) >= level(ofCore: deserved)
  }

  /// Starts the program again with the right core type when OpenBLAS chose too low a one.
  ///
  /// Returns at once when the core is right, when the user named one, or after one restart. Call it
  /// first thing in `main`: the process is replaced, with the same arguments.
  public static func restartWithDeservedCore() {
    guard !isDeserved, let deserved, getenv("OPENBLAS_CORETYPE") == nil else { return }
    setenv("OPENBLAS_CORETYPE", deserved, 1)
    var arguments = CommandLine.unsafeArgv
    _ = withUnsafeMutablePointer(to: &arguments) { execv("/proc/self/exe", $0.pointee) }
    // Still here: the restart failed; slower kernels are not wrong ones.
  }

  /// Keeps OpenBLAS on the calling thread, so that results do not depend on its thread count.
  public static func useOneThread() { openblas_set_num_threads(1) }

  /// The kernel set for a CPU with these `/proc/cpuinfo` flags.
  package static func core(forCPUFlags flags: Set<String>) -> String? {
    if flags.isSuperset(of: ["avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"]) {
      return "SkylakeX"
    }
    if flags.isSuperset(of: ["avx2", "fma"]) { return "Haswell" }
    if flags.contains("avx") { return "Sandybridge" }
    return nil
  }

  /// 4: AVX-512, 3: AVX2 and FMA, 2: AVX, 1: less (or a name that is not known).
  package static func level(ofCore name: String) -> Int {
    switch name.lowercased() {
    case "skylakex", "cooperlake", "sapphirerapids": 4
    case "haswell", "zen", "excavator": 3
    case "sandybridge", "bulldozer", "piledriver", "steamroller": 2
    default: 1
    }
  }

  private static func cpuFlags() -> Set<String> { CPU.flags }
}

/// What `/proc/cpuinfo` says about the first processor.
public enum CPU {
  /// "AMD EPYC 9654 96-Core Processor", or "unknown".
  public static var name: String { entry("model name") ?? "unknown" }

  /// Its instruction sets and other features, "avx2", "avx512f", ....
  package static var flags: Set<String> {
    Set((entry("flags") ?? "").split(separator: " ").map(String.init))
  }

  /// The text after the colon of the first line that begins with `key`.
  static func entry(_ key: String) -> String? {
    guard let file = fopen("/proc/cpuinfo", "r") else { return nil }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 16384)
    while fgets(&line, Int32(line.count), file) != nil {
      let text = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
      guard text.hasPrefix(key), let colon = text.firstIndex(of: ":") else { continue }
      let value = text[text.index(after: colon)...].drop { $0 == " " }
      return String(value.prefix { $0 != "\n" })
    }
    return nil
  }
}
