import Foundation

/// Sizes as people write them: "12.3 MB", decimal units.
public enum ByteCount {
  private static let units = [
    ("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3),
  ]

  /// Three digits and a unit.
  public static func text(_ bytes: Double) -> String {
    for (unit, size) in units where bytes >= 0.9995 * size {
      let value = bytes / size
      return String(format: value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f", value) + " "
        + unit
    }
    return "\(Int(bytes.rounded())) B"
  }

  /// Reads "10GB", "1.5 TB", "512MiB" or "4096"; `nil` for anything else, and below one byte.
  public static func parse(_ text: String) -> Int? {
    let compact = text.filter { !$0.isWhitespace }
    let digits = compact.prefix { $0.isNumber || $0 == "." }
    let unit = compact.dropFirst(digits.count).lowercased()
    let sizes: [String: Double] = [
      "": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15, "kib": 0x1p10,
      "mib": 0x1p20, "gib": 0x1p30, "tib": 0x1p40, "pib": 0x1p50,
    ]
    guard let number = Double(digits), let size = sizes[unit], number * size >= 1,
      number * size < 0x1p62
    else { return nil }
    return Int(number * size)
  }
}
