/// The number of characters (Unicode scalars) of a text in UTF-8 that zeros may follow.
package func characterCount(_ text: [UInt8]) -> Int {
  let text = text.span
  var count = 0
  for index in 0..<text.count where beginsCharacter(text[unchecked: index]) { count += 1 }
  return count
}

/// Writes `count` characters from character `first` on to the front of `result`, then zeros.
///
/// - Precondition: the text has so many characters, `result` as many bytes.
package func takeCharacters(
  _ text: [UInt8], first: Int, count: Int, into result: inout [UInt8]
) {
  precondition(result.count == text.count, "\(result.count) bytes for a text in \(text.count)")
  let text = text.span
  var result = result.mutableSpan
  var (character, end) = (-1, 0)
  for index in 0..<text.count {
    let byte = text[unchecked: index]
    if beginsCharacter(byte) { character += 1 }
    guard byte != 0, character >= first, character < first + count else { continue }
    result[unchecked: end] = byte
    end += 1
  }
  for index in end..<result.count { result[unchecked: index] = 0 }
}

/// Turns capital letters into small ones where that never changes the length in bytes: the letters
/// of `smallLetters`.
///
/// - Precondition: the text is UTF-8 that zeros may follow.
package func lowercase(_ text: inout [UInt8]) {
  let small = smallLetters
  var index = 0
  while index < text.count {
    let first = text[index]
    switch first {
    case 0: return
    case ..<0x80:
      text[index] = UInt8(small[Int(first)])
      index += 1
    case ..<0xE0:
      let letter = small[Int(first & 0x1F) << 6 | Int(text[index + 1] & 0x3F)]
      text[index] = 0xC0 | UInt8(letter >> 6)
      text[index + 1] = 0x80 | UInt8(letter & 0x3F)
      index += 2
    case ..<0xF0:
      let number =
        Int(first & 0x0F) << 12 | Int(text[index + 1] & 0x3F) << 6
        | Int(text[index + 2] & 0x3F)
      if number < small.count {
        // All of these keep their first byte.
        text[index + 1] = 0x80 | UInt8(small[number] >> 6 & 0x3F)
        text[index + 2] = 0x80 | UInt8(small[number] & 0x3F)
      }
      index += 3
    default: index += 4
    }
  }
}

/// For every scalar below U+1F00 its small letter, or itself: docs/VIEWS.md, "lowercase".
///
/// A frozen part of Unicode's simple case mapping: later versions of Unicode, or of Swift, change no view.
package let smallLetters: [UInt16] = {
  var letters = Array(0..<UInt16(0x1F00))
  let runs: [(first: Int, last: Int, step: Int, distance: UInt16)] = [
    (0x41, 0x5A, 1, 32),  // ASCII
    (0xC0, 0xD6, 1, 32), (0xD8, 0xDE, 1, 32),  // Latin-1
    (0x100, 0x12E, 2, 1), (0x132, 0x136, 2, 1), (0x139, 0x147, 2, 1),  // Latin Extended-A
    (0x14A, 0x176, 2, 1), (0x179, 0x17D, 2, 1),
    (0x218, 0x21A, 2, 1),  // Romanian
    (0x386, 0x386, 1, 38), (0x388, 0x38A, 1, 37), (0x38C, 0x38C, 1, 64),  // Greek with tonos
    (0x38E, 0x38F, 1, 63), (0x391, 0x3A1, 1, 32), (0x3A3, 0x3AB, 1, 32),  // Greek
    (0x400, 0x40F, 1, 80), (0x410, 0x42F, 1, 32),  // Cyrillic
    (0x48A, 0x4BE, 2, 1), (0x4D0, 0x52E, 2, 1),
    (0x531, 0x556, 1, 48),  // Armenian
    (0x1EA0, 0x1EFE, 2, 1),  // Vietnamese
  ]
  for run in runs {
    for letter in stride(from: run.first, through: run.last, by: run.step) {
      letters[letter] += run.distance
    }
  }
  return letters
}()

/// Whether a byte of UTF-8 is a character's first; zeros behind a text begin none.
@inline(__always)
private func beginsCharacter(_ byte: UInt8) -> Bool { byte != 0 && byte & 0xC0 != 0x80 }
