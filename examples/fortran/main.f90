! Reads the number of rows and their numbers from stdin, and prints the scores of one row a line.
program main
  use, intrinsic :: iso_c_binding, only: c_float, c_int, c_int32_t
  use, intrinsic :: iso_fortran_env, only: error_unit
  use tagger, only: tagger_evaluate, tagger_features, tagger_ok, tagger_scores, tagger_status_text, &
                    tagger_wrong_size
  implicit none

  integer, parameter :: repeats = 20
  real(c_float), allocatable :: features(:, :), scores(:, :), again(:, :)
  integer(c_int) :: status
  integer :: rows, i, different

  read (*, *) rows
  allocate (features(tagger_features, rows), scores(tagger_scores, rows))
  if (rows > 0) read (*, *) features
  status = tagger_evaluate(features, scores)
  if (status /= tagger_ok) then
    write (error_unit, "(a)") tagger_status_text(status)
    error stop 1
  end if
  do i = 1, rows
    write (*, "(*(g0, :, ' '))") scores(:, i)
  end do

  ! An array of another size is refused.
  allocate (again(tagger_scores, rows + 1))
  if (tagger_evaluate(features, again) /= tagger_wrong_size) error stop 2
  deallocate (again)

  ! Threads share the model (with -fopenmp), and all get the same bits.
  different = 0
  !$omp parallel do private(again, status) reduction(+:different)
  do i = 1, repeats
    allocate (again(tagger_scores, rows))
    status = tagger_evaluate(features, again)
    if (status /= tagger_ok .or. any(bits(again) /= bits(scores))) &
      different = different + 1
    deallocate (again)
  end do
  !$omp end parallel do
  if (different /= 0) error stop 3

contains

  ! Numbers as their bits, which are equal where the numbers are the same.
  elemental integer(c_int32_t) function bits(number)
    real(c_float), intent(in) :: number

    bits = transfer(number, 0_c_int32_t)
  end function bits

end program main
