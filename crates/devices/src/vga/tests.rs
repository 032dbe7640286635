use super::*;
use crate::test_board::TestBoard;

fn read(vga: &mut Vga, port: u16) -> u8 {
    vga.read(port - 0x3c0, &TestBoard::default())
}

fn write(vga: &mut Vga, port: u16, value: u8) {
    vga.write(port - 0x3c0, value);
}

fn set_crtc(vga: &mut Vga, index: u8, value: u8) {
    write(vga, 0x3d4, index);
    write(vga, 0x3d5, value);
}

#[test]
fn it_begins_in_text_of_80_by_25() {
    let view = Vga::default().text_view();
    assert_eq!(view, TextView { columns: 80, rows: 25, pitch: 80, start: 0, cursor: Some(0) });
}

#[test]
fn software_moves_the_cursor_and_the_start() {
    let mut vga = Vga::default();
    for (index, value) in [(0x0c, 0x01), (0x0d, 0x90), (0x0e, 0x02), (0x0f, 0x41)] {
        set_crtc(&mut vga, index, value);
    }
    let view = vga.text_view();
    assert_eq!((view.start, view.cursor), (0x190, Some(0x241)));
    write(&mut vga, 0x3d4, 0x0e);
    assert_eq!(read(&mut vga, 0x3d5), 0x02, "xv6 asks for where it is");
    set_crtc(&mut vga, 0x0a, 0x20);
    assert_eq!(vga.text_view().cursor, None);
}

#[test]
fn glyphs_of_8_lines_make_50_rows() {
    let mut vga = Vga::default();
    set_crtc(&mut vga, 0x09, 0x47);
    assert_eq!(vga.text_view().rows, 50);
}

#[test]
fn no_contents_of_the_registers_show_more_than_can_be_shown() {
    let mut vga = Vga::default();
    set_crtc(&mut vga, 0x11, 0);
    (0..=0xff).for_each(|index| set_crtc(&mut vga, index, 0xff));
    set_crtc(&mut vga, 0x09, 0x00);
    let view = vga.text_view();
    assert!(view.columns <= 255 && view.rows <= 100, "{view:?}");
}

#[test]
fn protected_timing_registers_keep_their_value_but_line_compare() {
    let mut vga = Vga::default();
    set_crtc(&mut vga, 0x01, 0x27);
    set_crtc(&mut vga, 0x07, 0x00);
    assert_eq!((vga.crtc[1], vga.crtc[7]), (0x4f, 0x0f));
    set_crtc(&mut vga, 0x11, 0x0e);
    set_crtc(&mut vga, 0x01, 0x27);
    assert_eq!(vga.text_view().columns, 40);
}

#[test]
fn the_attribute_port_takes_index_and_value_in_turn() {
    let mut vga = Vga::default();
    read(&mut vga, 0x3da);
    write(&mut vga, 0x3c0, 0x30);
    write(&mut vga, 0x3c0, 0x04);
    write(&mut vga, 0x3c0, 0x30);
    assert_eq!(read(&mut vga, 0x3c1), 0x04);
    read(&mut vga, 0x3da);
    write(&mut vga, 0x3c0, 0x31);
    assert_eq!(read(&mut vga, 0x3c0), 0x31, "status 1 makes it an index again");
}

#[test]
fn indexed_registers_keep_what_is_written_and_there_are_no_others() {
    for (index_port, last) in [(0x3c4, 4), (0x3ce, 8), (0x3d4, 0x18)] {
        let mut vga = Vga::default();
        set_crtc(&mut vga, 0x11, 0);
        for (index, read_back) in [(last, 0x5a), (last + 1, 0), (0xff, 0)] {
            write(&mut vga, index_port, index);
            write(&mut vga, index_port + 1, 0x5a);
            assert_eq!(read(&mut vga, index_port + 1), read_back, "{index_port:#x} {index:#x}");
        }
    }
}

#[test]
fn the_dac_takes_and_gives_three_parts_of_six_bits() {
    let mut vga = Vga::default();
    write(&mut vga, 0x3c8, 1);
    for part in [0xff, 0x01, 0x02, 0x03] {
        write(&mut vga, 0x3c9, part);
    }
    write(&mut vga, 0x3c7, 1);
    assert_eq!([(); 4].map(|()| read(&mut vga, 0x3c9)), [0x3f, 0x01, 0x02, 0x03]);
    assert_eq!(read(&mut vga, 0x3c7), 3);
    write(&mut vga, 0x3c7, 0x14);
    assert_eq!([(); 3].map(|()| read(&mut vga, 0x3c9)), [0x2a, 0x15, 0x00], "brown");
}

#[test]
fn the_beam_returns_70_times_a_second() {
    let mut vga = Vga::default();
    let mut retraces = 0;
    let mut before = false;
    for now_ns in (0..1_000_000_000).step_by(100_000) {
        let now = vga.read(0x1a, &TestBoard { now_ns, ..TestBoard::default() }) & 8 != 0;
        retraces += u32::from(now && !before);
        before = now;
    }
    assert_eq!(retraces, 70);
}

#[test]
fn the_colour_crtc_is_silent_while_the_monochrome_one_is_chosen() {
    let mut vga = Vga::default();
    write(&mut vga, 0x3c2, 0x66);
    assert_eq!(read(&mut vga, 0x3d5), 0xff);
    set_crtc(&mut vga, 0x0e, 0x55);
    write(&mut vga, 0x3c2, 0x67);
    assert_eq!(vga.text_view().cursor, Some(0));
    assert_eq!(read(&mut vga, 0x3cc), 0x67);
}
