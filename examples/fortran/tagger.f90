! The model `tagger` for Fortran: features(4, batch) in, scores(2, batch) out. C's [batch][4] is
! Fortran's (4, batch): a row of the model is a column here. Names and sizes are those of tagger.h.
module tagger
  use, intrinsic :: iso_c_binding, only: c_float, c_int, c_int8_t, c_int64_t, c_intptr_t, c_loc, c_ptr
  implicit none
  private
  public :: tagger_evaluate, tagger_status_text

  integer, parameter, public :: tagger_features = 4, tagger_scores = 2
  integer(c_int), parameter, public :: tagger_ok = 0, tagger_wrong_size = 7
  integer(c_intptr_t), parameter :: alignment = 64

  interface
    function tagger_run(batch, features, scores, workspace) bind(c, name="tagger_run") &
        result(status)
      import :: c_float, c_int, c_int64_t, c_ptr
      integer(c_int64_t), value :: batch
      real(c_float), intent(in) :: features(*)
      real(c_float), intent(out) :: scores(*)
      type(c_ptr), value :: workspace
      integer(c_int) :: status
    end function tagger_run

    function tagger_workspace_bytes(batch) bind(c, name="tagger_workspace_bytes") result(bytes)
      import :: c_int64_t
      integer(c_int64_t), value :: batch
      integer(c_int64_t) :: bytes
    end function tagger_workspace_bytes
  end interface

contains

  ! The scores of all columns; the status of the run, 0 where all is well. Any number of threads may
  ! call it at once.
  function tagger_evaluate(features, scores) result(status)
    real(c_float), intent(in), contiguous :: features(:, :)
    real(c_float), intent(out), contiguous :: scores(:, :)
    integer(c_int) :: status
    integer(c_int8_t), allocatable, target :: memory(:)
    integer(c_int64_t) :: batch, bytes
    integer(c_intptr_t) :: first

    batch = size(features, 2, c_int64_t)
    if (size(features, 1) /= tagger_features .or. size(scores, 1) /= tagger_scores &
        .or. size(scores, 2, c_int64_t) /= batch) then
      status = tagger_wrong_size
      return
    end if
    bytes = max(tagger_workspace_bytes(batch), 0_c_int64_t)
    ! More than is needed, so that an aligned place is in it.
    allocate (memory(bytes + alignment))
    first = modulo(-transfer(c_loc(memory), 0_c_intptr_t), alignment) + 1
    status = tagger_run(batch, features, scores, c_loc(memory(first)))
  end function tagger_evaluate

  ! What a status means.
  function tagger_status_text(status) result(text)
    integer(c_int), intent(in) :: status
    character(:), allocatable :: text

    select case (status)
    case (0)
      text = "ok"
    case (4)
      text = "batch size is too large"
    case (tagger_wrong_size)
      text = "an array has the wrong size"
    case (8)
      text = "the CPU has none of the instruction sets compiled for"
    case default
      text = "see enum tfaot_status in tagger.h"
    end select
  end function tagger_status_text

end module tagger
