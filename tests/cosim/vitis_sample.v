// Written by hand in the way that Vitis HLS writes a top module of io_parallel: three scores of 12 bits, pipelined.
`timescale 1 ns / 1 ps

(* CORE_GENERATION_INFO="by hand" *)

module sample_top (
        ap_clk,
        ap_rst,
        ap_start,
        ap_done,
        ap_idle,
        ap_ready,
        inputs_ap_vld,
        inputs,
        layer2_out_0,
        layer2_out_0_ap_vld,
        layer2_out_1,
        layer2_out_1_ap_vld,
        layer2_out_2,
        layer2_out_2_ap_vld
);

input   ap_clk;
input   ap_rst;
input   ap_start;
output   ap_done;
output   ap_idle;
output   ap_ready;
input   inputs_ap_vld;
input  [11:0] inputs;
output  [4:0] layer2_out_0;
output   layer2_out_0_ap_vld;
output  [4:0] layer2_out_1;
output   layer2_out_1_ap_vld;
output  [4:0] layer2_out_2;
output   layer2_out_2_ap_vld;

reg  [11:0] weights [0:2];
initial $readmemh("./sample_top_weights.dat", weights);

function [4:0] score;
    input [11:0] agree;
    integer i;
    begin
        score = -5'd12;
        for (i = 0; i < 12; i = i + 1) score = score + {3'b0, agree[i], 1'b0};
    end
endfunction

reg  [11:0] inputs_read_reg;
reg  [4:0] score_0, score_1, score_2;
reg   ap_enable_reg_pp0_iter1, ap_enable_reg_pp0_iter2;

always @ (posedge ap_clk) begin
    if (ap_rst == 1'b1) begin
        ap_enable_reg_pp0_iter1 <= 1'b0;
        ap_enable_reg_pp0_iter2 <= 1'b0;
    end else begin
        ap_enable_reg_pp0_iter1 <= ap_start & inputs_ap_vld;
        ap_enable_reg_pp0_iter2 <= ap_enable_reg_pp0_iter1;
    end
end

always @ (posedge ap_clk) begin
    inputs_read_reg <= inputs;
    score_0 <= score(~(inputs_read_reg ^ weights[0]));
    score_1 <= score(~(inputs_read_reg ^ weights[1]));
    score_2 <= score(~(inputs_read_reg ^ weights[2]));
end

assign ap_ready = ap_start & inputs_ap_vld;
assign ap_done = ap_enable_reg_pp0_iter2;
assign ap_idle = ~(ap_start | ap_enable_reg_pp0_iter1 | ap_enable_reg_pp0_iter2);
assign layer2_out_0 = score_0;
assign layer2_out_0_ap_vld = ap_enable_reg_pp0_iter2;
assign layer2_out_1 = score_1;
assign layer2_out_1_ap_vld = ap_enable_reg_pp0_iter2;
assign layer2_out_2 = score_2;
assign layer2_out_2_ap_vld = ap_enable_reg_pp0_iter2;

endmodule
