/// The extent of an image whose pixels lie row after row, channels together (HWC).
package struct ImageSize: Hashable, Sendable {
  package var height: Int
  package var width: Int
  package var channels: Int

  package init(height: Int, width: Int, channels: Int) {
    (self.height, self.width, self.channels) = (height, width, channels)
  }

  /// Bytes of a row.
  package var rowSize: Int { width * channels }
  /// Bytes of the image.
  package var elementCount: Int { height * width * channels }
}

/// A rectangle inside an image, in pixels.
package struct Rectangle: Hashable, Sendable {
  package var top: Int
  package var left: Int
  package var height: Int
  package var width: Int

  package init(top: Int, left: Int, height: Int, width: Int) {
    (self.top, self.left, self.height, self.width) = (top, left, height, width)
  }
}
