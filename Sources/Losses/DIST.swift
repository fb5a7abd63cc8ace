/// Memory of the DIST kernel.
struct DISTWorkspace: ~Copyable {
  /// The student's probabilities [B, C].
  let probabilities: MutableRow
  /// Per class: the student's mean over the batch, its sum of squares around it, and its inner
  /// product with the teacher's column.
  let means: MutableRow
  let squares: MutableRow
  let products: MutableRow
  /// Per class: factors of the gradient, and the teacher's mean as a float.
  let teacherPulls: MutableRow
  let studentPulls: MutableRow
  let teacherMeansFloat: MutableRow
  /// Per class: the teacher's mean of what exceeds the tail, its sum of squares, and how many
  /// records have the class in their head.
  let teacherMeans: UnsafeMutablePointer<Double>
  let teacherSquares: UnsafeMutablePointer<Double>
  let occurrences: UnsafeMutablePointer<Int32>
  /// Per record: the probability of each tail class, and the record's gradient factors.
  let tailShares: UnsafeMutablePointer<Double>
  let rowMeans: MutableRow
  let rowStudentPulls: UnsafeMutablePointer<Double>
  let rowTeacherPulls: UnsafeMutablePointer<Double>
  /// Head probability minus the record's tail share [B, k].
  let excesses: UnsafeMutablePointer<Double>

  init(classes: Int, maximumBatch: Int, k: Int) {
    probabilities = .allocate(capacity: maximumBatch * classes)
    means = .allocate(capacity: classes)
    squares = .allocate(capacity: classes)
    products = .allocate(capacity: classes)
    teacherPulls = .allocate(capacity: classes)
    studentPulls = .allocate(capacity: classes)
    teacherMeansFloat = .allocate(capacity: classes)
    teacherMeans = .allocate(capacity: classes)
    teacherSquares = .allocate(capacity: classes)
    occurrences = .allocate(capacity: classes)
    tailShares = .allocate(capacity: maximumBatch)
    rowMeans = .allocate(capacity: maximumBatch)
    rowStudentPulls = .allocate(capacity: maximumBatch)
    rowTeacherPulls = .allocate(capacity: maximumBatch)
    excesses = .allocate(capacity: maximumBatch * k)
  }

  deinit {
    probabilities.deallocate()
    means.deallocate()
    squares.deallocate()
    products.deallocate()
    teacherPulls.deallocate()
    studentPulls.deallocate()
    teacherMeansFloat.deallocate()
    teacherMeans.deallocate()
    teacherSquares.deallocate()
    occurrences.deallocate()
    tailShares.deallocate()
    rowMeans.deallocate()
    rowStudentPulls.deallocate()
    rowTeacherPulls.deallocate()
    excesses.deallocate()
  }
}

/// DIST: correlations of softmax rows (between classes) and columns (within a class).
///
/// Y = softmax(s / tau), X = softmax(t / tau); rho(a, b) = <a~, b~> / (|a~| |b~| + eps), centred.
/// L = tau^2 ( beta (1 - mean_b rho(Y_b, X_b)) + gamma (1 - mean_c rho(Y_c, X_c)) )
/// With G = dL/dY: ds = Y (G - <G, Y>) / tau per row. Adding a constant to a row of G changes
/// nothing, so constants are left out.
///
/// The teacher is a constant per record (its tail share) plus sparse excesses in the head, so its
/// row and column statistics cost O(B k + C) and no [B, C] teacher exists.
/// Column sums run around the first row's value, so a constant column is exactly constant.
///
/// - Precondition: `columns` holds the batch.
/// - Returns: L. A constant student row or column gives a gradient of order 1 / eps, as the formula
///   does; float32 cannot reproduce it.
/// - Source: Huang et al. 2022, arXiv:2205.10536.
func dist(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, settings: DISTSettings,
  factor: Double, workspace: borrowing Workspace, columns: borrowing DISTWorkspace,
  gradient: GradientRows
) -> Double {
  let tau = Double(settings.temperature)
  let strength = settings.scalesByTemperatureSquared ? tau * tau : 1
  columns.clear(classes: student.classes)

  var rowCorrelations = 0.0
  for b in 0..<student.count {
    rowCorrelations += correlateRow(
      student, teacher, row: b, settings: settings,
      pull: factor * strength * settings.beta / Double(student.count), workspace: workspace,
      columns: columns)
  }
  let inter = 1 - rowCorrelations / Double(student.count)
  var intra = 1.0
  if settings.gamma != 0 {
    summarizeTeacherColumns(teacher, count: student.count, columns: columns)
    summarizeStudentColumns(student, teacher, columns: columns)
    intra -=
      correlateColumns(
        classes: student.classes, epsilon: settings.epsilon,
        pull: factor * strength * settings.gamma / Double(student.classes), columns: columns)
      / Double(student.classes)
  }
  for b in 0..<student.count {
    writeGradient(
      student, teacher, row: b, scale: Float(1 / tau), hasColumns: settings.gamma != 0,
      workspace: workspace, columns: columns, gradient: gradient)
  }
  return strength * (settings.beta * inter + (settings.gamma != 0 ? settings.gamma * intra : 0))
}

extension DISTWorkspace {
  fileprivate func clear(classes: Int) {
    means.update(repeating: 0, count: classes)
    squares.update(repeating: 0, count: classes)
    products.update(repeating: 0, count: classes)
    teacherMeans.update(repeating: 0, count: classes)
    teacherSquares.update(repeating: 0, count: classes)
    occurrences.update(repeating: 0, count: classes)
  }
}

/// A correlation of two centred vectors and the two factors of its gradient:
/// drho/da = b~ * teacherPull - a~ * studentPull.
private struct Correlation {
  var rho: Double
  var teacherPull: Double
  var studentPull: Double

  init(product: Double, studentSquares: Double, teacherSquares: Double, epsilon: Double) {
    let (a, b) = (studentSquares.squareRoot(), teacherSquares.squareRoot())
    let denominator = a * b + epsilon
    rho = product / denominator
    teacherPull = 1 / denominator
    studentPull = a > 0 ? product * b / (denominator * denominator * a) : 0
  }
}

/// Softmax of one row, its correlation with the teacher's, and the sums both sides' columns need.
private func correlateRow(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, row b: Int, settings: DISTSettings,
  pull: Double, workspace: borrowing Workspace, columns: borrowing DISTWorkspace
) -> Double {
  let (classes, k) = (student.classes, teacher.k)
  let output = columns.probabilities + b * classes
  let total = exponentials(
    student.row(b), maximum: student.surveys[b].maximum, scale: 1 / settings.temperature,
    count: classes, into: workspace.row)
  write(
    workspace.row, scale: Float(1 / total), offset: 0, count: classes, into: output, adding: false)
  let pivot = output[0]
  let mean = pivot + Float(sum(output, minus: pivot, count: classes) / Double(classes))
  let squares = sumOfSquares(output, minus: mean, count: classes)
  if b > 0 {
    let first = columns.probabilities
    let sums = columns.means
    for c in 0..<classes { sums[c] += output[c] - first[c] }
  }

  let head = workspace.probabilities
  let rest = teacher.soften(row: b, temperature: settings.temperature, into: head)
  let teacherMean = (sum(head, count: k) + rest.tailMass) / Double(classes)
  // Without a tail any constant serves; the mean makes an even row exactly even.
  let tailShare =
    teacher.tailClasses > 0 ? rest.tailMass / Double(teacher.tailClasses) : teacherMean
  let ids = teacher.classIDs.span
  var product = 0.0
  var teacherSquares =
    Double(teacher.tailClasses) * (tailShare - teacherMean) * (tailShare - teacherMean)
  for j in 0..<k {
    let id = Int(ids[unchecked: b &* k &+ j])
    let excess = head[j] - tailShare
    product += Double(output[id] - mean) * excess
    teacherSquares += (head[j] - teacherMean) * (head[j] - teacherMean)
    columns.excesses[b &* k &+ j] = excess
    columns.teacherMeans[id] += excess
    columns.occurrences[id] &+= 1
  }
  columns.tailShares[b] = tailShare
  let correlation = Correlation(
    product: product, studentSquares: squares, teacherSquares: teacherSquares,
    epsilon: settings.epsilon)
  columns.rowMeans[b] = mean
  columns.rowTeacherPulls[b] = pull * correlation.teacherPull
  columns.rowStudentPulls[b] = pull * correlation.studentPull
  return correlation.rho
}

/// Means and centred sums of squares of the teacher's columns, in two passes over the heads.
///
/// A column is (tail share - its mean) + excess. Where every record has the class in its head the
/// dense part has no members and is left out, so nothing cancels.
private func summarizeTeacherColumns(
  _ teacher: borrowing TeacherBatch, count: Int, columns: borrowing DISTWorkspace
) {
  let k = teacher.k
  let ids = teacher.classIDs.span
  let size = Double(count)
  let meanShare = sum(columns.tailShares, count: count) / size
  var shareSquares = 0.0
  for b in 0..<count {
    columns.tailShares[b] -= meanShare
    shareSquares += columns.tailShares[b] * columns.tailShares[b]
  }
  for c in 0..<teacher.classes {
    columns.teacherMeans[c] /= size
    let mean = columns.teacherMeans[c]
    columns.teacherSquares[c] =
      Int(columns.occurrences[c]) == count ? 0 : shareSquares + size * mean * mean
  }
  for b in 0..<count {
    let share = columns.tailShares[b]
    for j in b &* k..<(b &+ 1) &* k {
      let id = Int(ids[unchecked: j])
      let dense = share - columns.teacherMeans[id]
      let value = dense + columns.excesses[j]
      columns.teacherSquares[id] += value * value
      if Int(columns.occurrences[id]) != count { columns.teacherSquares[id] -= dense * dense }
    }
  }
}

/// Means, centred sums of squares and products with the teacher of the student's columns.
private func summarizeStudentColumns(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, columns: borrowing DISTWorkspace
) {
  let (classes, k) = (student.classes, teacher.k)
  let (means, squares, products) = (columns.means, columns.squares, columns.products)
  let first = columns.probabilities
  let inverse = 1 / Float(student.count)
  for c in 0..<classes { means[c] = first[c] + means[c] * inverse }
  let ids = teacher.classIDs.span
  for b in 0..<student.count {
    let row = columns.probabilities + b * classes
    let share = Float(columns.tailShares[b])
    for c in 0..<classes {
      let centred = row[c] - means[c]
      squares[c] += centred * centred
      products[c] += centred * share
    }
    for j in b &* k..<(b &+ 1) &* k {
      let id = Int(ids[unchecked: j])
      // A column known in every record is centred, so a constant one gives exactly nothing.
      let isFull = Int(columns.occurrences[id]) == student.count
      let excess = columns.excesses[j] - (isFull ? columns.teacherMeans[id] : 0)
      products[id] += (row[id] - means[id]) * Float(excess)
    }
  }
}

/// The sum of the columns' correlations; leaves the factors of their gradients.
private func correlateColumns(
  classes: Int, epsilon: Double, pull: Double, columns: borrowing DISTWorkspace
) -> Double {
  var total = 0.0
  for c in 0..<classes {
    let correlation = Correlation(
      product: Double(columns.products[c]), studentSquares: Double(columns.squares[c]),
      teacherSquares: max(columns.teacherSquares[c], 0), epsilon: epsilon)
    total += correlation.rho
    columns.teacherPulls[c] = Float(pull * correlation.teacherPull)
    columns.studentPulls[c] = Float(pull * correlation.studentPull)
    columns.teacherMeansFloat[c] = Float(columns.teacherMeans[c])
  }
  return total
}

/// G of one row, then the softmax's backward pass.
private func writeGradient(
  _ student: StudentRows, _ teacher: borrowing TeacherBatch, row b: Int, scale: Float,
  hasColumns: Bool, workspace: borrowing Workspace, columns: borrowing DISTWorkspace,
  gradient: GradientRows
) {
  let (classes, k) = (student.classes, teacher.k)
  let y = columns.probabilities + b * classes
  let g = workspace.row
  let rowMean = columns.rowMeans[b]
  let rowPull = Float(columns.rowStudentPulls[b])
  if hasColumns {
    let share = Float(columns.tailShares[b])
    let (means, teacherMeans) = (columns.means, columns.teacherMeansFloat)
    let (own, other) = (columns.studentPulls, columns.teacherPulls)
    for c in 0..<classes {
      g[c] =
        (y[c] - rowMean) * rowPull + (y[c] - means[c]) * own[c]
        - (share - teacherMeans[c]) * other[c]
    }
  } else {
    for c in 0..<classes { g[c] = (y[c] - rowMean) * rowPull }
  }
  let ids = teacher.classIDs.span
  for j in b &* k..<(b &+ 1) &* k {
    let id = Int(ids[unchecked: j])
    let excess = columns.excesses[j]
    g[id] = (y[id] - rowMean) * rowPull - Float(excess * columns.rowTeacherPulls[b])
    if hasColumns {
      // Centred before it is multiplied by what may be 1 / eps.
      let centred = columns.tailShares[b] + excess - columns.teacherMeans[id]
      g[id] +=
        (y[id] - columns.means[id]) * columns.studentPulls[id]
        - Float(centred * Double(columns.teacherPulls[id]))
    }
  }
  let mean = Float(innerProduct(g, y, count: classes))
  let slope = gradient.row(b)
  if gradient.adding {
    for c in 0..<classes { slope[c] += scale * y[c] * (g[c] - mean) }
  } else {
    for c in 0..<classes { slope[c] = scale * y[c] * (g[c] - mean) }
  }
}
