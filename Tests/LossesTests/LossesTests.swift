// LossesTests
